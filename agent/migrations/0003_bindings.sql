-- What a session's identity rests on, and what was observed of its process.
ALTER TABLE session_records ADD COLUMN binding TEXT;
ALTER TABLE session_records ADD COLUMN token TEXT;
ALTER TABLE session_records ADD COLUMN issued_s INTEGER;
ALTER TABLE session_records ADD COLUMN not_after_s INTEGER;
ALTER TABLE session_records ADD COLUMN last_verified_s INTEGER;
ALTER TABLE session_records ADD COLUMN stale INTEGER;
ALTER TABLE session_records ADD COLUMN development INTEGER;
ALTER TABLE session_records ADD COLUMN delegation TEXT;
ALTER TABLE session_records ADD COLUMN auth_time_s INTEGER;
ALTER TABLE session_records ADD COLUMN acr TEXT;
ALTER TABLE session_records ADD COLUMN amr TEXT;
-- The evidence as JSON.
ALTER TABLE session_records ADD COLUMN evidence TEXT;

-- When a session went on with a newer log-in; what it rested on until then is in its record.
CREATE TABLE session_renewals (
    seq              INTEGER PRIMARY KEY,
    session          INTEGER NOT NULL,
    time_ns          INTEGER NOT NULL,
    binding          TEXT NOT NULL,
    token            TEXT NOT NULL,
    issued_s         INTEGER NOT NULL,
    not_after_s      INTEGER NOT NULL,
    last_verified_s  INTEGER NOT NULL,
    stale            INTEGER NOT NULL
);
CREATE INDEX session_renewal_by_session ON session_renewals (session);

-- What each session rests on: what it was bound to, by which token (its SHA-256; tokens are never kept), from when until when,
-- and what was seen of the process. A session that went on with a newer log-in has a row for each.
CREATE VIEW bindings AS
SELECT s.id AS session, datetime(s.opened_ns / 1000000000, 'unixepoch') AS since,
       CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END AS principal,
       c.issuer, c.actor, s.method, s.strength, s.delegation, s.binding, s.token,
       datetime(s.issued_s, 'unixepoch') AS issued,
       datetime(s.not_after_s, 'unixepoch') AS not_after,
       datetime(s.last_verified_s, 'unixepoch') AS last_verified,
       s.stale, s.development,
       datetime(s.auth_time_s, 'unixepoch') AS auth_time, s.acr, s.amr, s.purpose
FROM session_records s JOIN contexts c ON c.id = s.context
UNION ALL
SELECT s.id, datetime(r.time_ns / 1000000000, 'unixepoch'),
       c.subject, c.issuer, c.actor, s.method, s.strength, s.delegation, r.binding, r.token,
       datetime(r.issued_s, 'unixepoch'), datetime(r.not_after_s, 'unixepoch'),
       datetime(r.last_verified_s, 'unixepoch'), r.stale, s.development,
       NULL, s.acr, s.amr, s.purpose
FROM session_renewals r JOIN session_records s ON s.id = r.session JOIN contexts c ON c.id = s.context;

-- What was observed of each session's process, whoever it was bound to.
CREATE VIEW evidence AS
SELECT s.id AS session, s.pid, c.exe, evidence ->> 'exe_sha256' AS exe_sha256, evidence ->> 'comm' AS comm, c.uid,
       evidence ->> 'audit_session' AS audit_session, evidence ->> 'loginuid' AS loginuid,
       s.cgroup, evidence ->> 'systemd_unit' AS unit, evidence ->> 'container_id' AS container,
       evidence ->> 'boot_id' AS boot_id, evidence ->> 'start_boottime_ns' AS start_boottime_ns,
       evidence -> 'parents' AS parents, evidence
FROM session_records s JOIN contexts c ON c.id = s.context;
