-- What privileged, columns and access reviews read: as `activity`, by context instead of session.
CREATE TABLE statement_usage (
    hour        INTEGER NOT NULL,
    context     INTEGER NOT NULL,
    statement   INTEGER NOT NULL,
    statements  INTEGER NOT NULL DEFAULT 0,
    denied      INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    rows        INTEGER NOT NULL DEFAULT 0,
    bytes       INTEGER NOT NULL DEFAULT 0,
    first_ns    INTEGER NOT NULL,
    last_ns     INTEGER NOT NULL,
    PRIMARY KEY (hour, context, statement)
) WITHOUT ROWID;
INSERT INTO statement_usage
SELECT a.hour, s.context, a.statement, sum(a.statements), sum(a.denied), sum(a.failed), sum(a.rows), sum(a.bytes),
       min(a.first_ns), max(a.last_ns)
FROM activity a JOIN session_records s ON s.id = a.session GROUP BY a.hour, s.context, a.statement;

-- What sessions of a context rested on: the groups that the provider named (JSON), and how the process was bound.
CREATE TABLE context_proofs (
    context   INTEGER NOT NULL REFERENCES contexts (id),
    groups    TEXT NOT NULL,
    method    TEXT NOT NULL,
    strength  TEXT NOT NULL,
    sessions  INTEGER NOT NULL DEFAULT 0,
    first_ns  INTEGER NOT NULL,
    last_ns   INTEGER NOT NULL,
    PRIMARY KEY (context, groups, method, strength)
) WITHOUT ROWID;
INSERT INTO context_proofs
SELECT context, '[]', coalesce(method, ''), coalesce(strength, ''), count(*), min(opened_ns), max(opened_ns)
FROM session_records GROUP BY 1, 2, 3, 4;

CREATE INDEX session_by_time ON session_records (opened_ns);

-- By what proof each kind of session came about, and with which groups.
CREATE VIEW proofs AS
SELECT CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END AS principal,
       c.issuer, c.kind AS principal_kind, c.actor, c.exe, c.uid, c.endpoint, c.environment, c.database, c.database_user,
       p.groups, p.method, p.strength, p.sessions,
       datetime(p.first_ns / 1000000000, 'unixepoch') AS first,
       datetime(p.last_ns / 1000000000, 'unixepoch') AS last
FROM context_proofs p JOIN contexts c ON c.id = p.context;
