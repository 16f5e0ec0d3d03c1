-- Sessions whose bytes were relayed without being read: weir knows that they were, and nothing of what was said in them.
-- What earlier versions recorded tells it at the session's end only.
ALTER TABLE session_records ADD COLUMN unread INTEGER NOT NULL DEFAULT 0;
UPDATE session_records SET unread = 1 WHERE close_reason LIKE 'not inspected%';
CREATE INDEX unread_session_by_time ON session_records (opened_ns) WHERE unread;

-- Each session that was relayed unread: who, from which process, to where, since when.
CREATE VIEW unread_sessions AS
SELECT s.* FROM sessions s JOIN session_records r ON r.id = s.session WHERE r.unread;
