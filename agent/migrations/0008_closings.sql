-- Where a session's end was said first, and the last segment that says it: it goes with that, unless it is said again.
ALTER TABLE session_records ADD COLUMN closed_seq INTEGER;
ALTER TABLE session_records ADD COLUMN closed_segment INTEGER;
CREATE INDEX session_by_closing ON session_records (closed_segment) WHERE closed_segment IS NOT NULL;
