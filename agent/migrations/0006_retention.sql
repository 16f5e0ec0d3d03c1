-- What goes when segments of the journal are retired: rows that no other segment states, and hours before those that are left.
-- `segment` is the last one that states a row, `last_hour` the last in which it was used.
ALTER TABLE cursor ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session_records ADD COLUMN groups TEXT NOT NULL DEFAULT '[]';
ALTER TABLE session_records ADD COLUMN segment INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session_records ADD COLUMN last_hour INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session_renewals ADD COLUMN segment INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_ids ADD COLUMN segment INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statement_records ADD COLUMN last_hour INTEGER NOT NULL DEFAULT 0;
ALTER TABLE contexts ADD COLUMN last_hour INTEGER NOT NULL DEFAULT 0;
ALTER TABLE event_records ADD COLUMN segment INTEGER NOT NULL DEFAULT 0;

-- The earliest hour of a segment's requests; a segment without requests has none.
CREATE TABLE segment_hours (
    segment     INTEGER PRIMARY KEY,
    first_hour  INTEGER NOT NULL
);

CREATE INDEX session_by_use ON session_records (last_hour);
CREATE INDEX session_by_context ON session_records (context, opened_ns);
CREATE INDEX statement_id_by_segment ON statement_ids (segment);
CREATE INDEX statement_id_by_statement ON statement_ids (statement);
CREATE INDEX statement_by_use ON statement_records (last_hour);
