-- The audit store: a digest of the journal, rebuilt from it with `weir audit reindex`.
-- Times are nanoseconds since the epoch, hours are hours since the epoch.

CREATE TABLE cursor (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    segment  INTEGER NOT NULL,
    offset   INTEGER NOT NULL,
    seq      INTEGER NOT NULL
);
INSERT INTO cursor VALUES (1, 1, 0, 1);

-- Who, with what, on what: everything that usage is counted by.
CREATE TABLE contexts (
    id             INTEGER PRIMARY KEY,
    issuer         TEXT NOT NULL,
    subject        TEXT NOT NULL,
    display        TEXT NOT NULL,
    kind           TEXT NOT NULL,
    actor          TEXT NOT NULL,
    exe            TEXT NOT NULL,
    uid            INTEGER NOT NULL,
    endpoint       TEXT NOT NULL,
    environment    TEXT NOT NULL,
    engine         TEXT NOT NULL,
    database       TEXT NOT NULL,
    database_user  TEXT NOT NULL,
    UNIQUE (issuer, subject, display, kind, actor, exe, uid, endpoint, environment, engine, database, database_user)
);

CREATE TABLE session_records (
    id                INTEGER PRIMARY KEY,
    context           INTEGER NOT NULL REFERENCES contexts (id),
    opened_ns         INTEGER NOT NULL,
    closed_ns         INTEGER,
    close_reason      TEXT,
    application_name  TEXT,
    destination       TEXT NOT NULL,
    pid               INTEGER NOT NULL,
    cgroup            TEXT NOT NULL,
    method            TEXT,
    strength          TEXT,
    purpose           TEXT,
    requests          INTEGER,
    client_bytes      INTEGER,
    server_bytes      INTEGER
);

-- One row for each different statement and decision, however often it was decided anew.
CREATE TABLE statement_records (
    id           INTEGER PRIMARY KEY,
    digest       BLOB NOT NULL UNIQUE,
    fingerprint  TEXT NOT NULL,
    text         TEXT NOT NULL,
    kinds        TEXT NOT NULL,
    confidence   TEXT NOT NULL,
    effect       TEXT NOT NULL,
    reason       TEXT,
    rules        TEXT NOT NULL,
    would        TEXT NOT NULL,
    tags         TEXT NOT NULL,
    policy       TEXT NOT NULL
);

-- The journal's statement ids.
CREATE TABLE statement_ids (
    id         INTEGER PRIMARY KEY,
    statement  INTEGER NOT NULL REFERENCES statement_records (id)
);

CREATE TABLE statement_relations (
    statement  INTEGER NOT NULL REFERENCES statement_records (id),
    relation   TEXT NOT NULL,
    action     TEXT NOT NULL,
    PRIMARY KEY (statement, relation, action)
) WITHOUT ROWID;

-- Requests whose outcome has not come yet.
CREATE TABLE open_requests (
    seq        INTEGER PRIMARY KEY,
    session    INTEGER NOT NULL,
    statement  INTEGER NOT NULL,
    hour       INTEGER NOT NULL
);

-- What each session did, by statement and hour.
CREATE TABLE activity (
    session      INTEGER NOT NULL,
    statement    INTEGER NOT NULL,
    hour         INTEGER NOT NULL,
    requests     INTEGER NOT NULL DEFAULT 0,
    outcomes     INTEGER NOT NULL DEFAULT 0,
    statements   INTEGER NOT NULL DEFAULT 0,
    denied       INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0,
    rows         INTEGER NOT NULL DEFAULT 0,
    bytes        INTEGER NOT NULL DEFAULT 0,
    duration_ns  INTEGER NOT NULL DEFAULT 0,
    first_ns     INTEGER NOT NULL,
    last_ns      INTEGER NOT NULL,
    PRIMARY KEY (session, statement, hour)
) WITHOUT ROWID;
CREATE INDEX activity_by_hour ON activity (hour);

-- The roll-up that reports read. A statement that names several relations counts once for each;
-- one that names none has the relation ''. Totals are in `totals`.
CREATE TABLE usage (
    hour        INTEGER NOT NULL,
    context     INTEGER NOT NULL,
    relation    TEXT NOT NULL,
    action      TEXT NOT NULL,
    kinds       TEXT NOT NULL,
    statements  INTEGER NOT NULL DEFAULT 0,
    denied      INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    rows        INTEGER NOT NULL DEFAULT 0,
    bytes       INTEGER NOT NULL DEFAULT 0,
    first_ns    INTEGER NOT NULL,
    last_ns     INTEGER NOT NULL,
    PRIMARY KEY (hour, context, relation, action, kinds)
) WITHOUT ROWID;

CREATE TABLE totals (
    hour        INTEGER NOT NULL,
    context     INTEGER NOT NULL,
    requests    INTEGER NOT NULL DEFAULT 0,
    outcomes    INTEGER NOT NULL DEFAULT 0,
    statements  INTEGER NOT NULL DEFAULT 0,
    denied      INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    rows        INTEGER NOT NULL DEFAULT 0,
    bytes       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, context)
) WITHOUT ROWID;

CREATE TABLE event_records (
    seq      INTEGER PRIMARY KEY,
    time_ns  INTEGER NOT NULL,
    event    TEXT NOT NULL,
    body     TEXT NOT NULL
);
CREATE INDEX event_by_kind ON event_records (event, time_ns);

-- Where the journal could not be read.
CREATE TABLE breaks (
    segment    INTEGER NOT NULL,
    from_seq   INTEGER NOT NULL,
    until_seq  INTEGER NOT NULL,
    PRIMARY KEY (segment, from_seq)
) WITHOUT ROWID;

-- The views below are for auditors and stay as they are; the tables above may change.

-- Who did what to which table, with which program, by hour.
CREATE VIEW usage_view AS
SELECT datetime(u.hour * 3600, 'unixepoch') AS hour,
       CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END AS principal,
       c.issuer, c.display, c.kind AS principal_kind, c.actor, c.exe, c.uid,
       c.endpoint, c.environment, c.engine, c.database, c.database_user,
       u.relation, u.action, u.kinds, u.statements, u.denied, u.failed, u.rows, u.bytes,
       datetime(u.first_ns / 1000000000, 'unixepoch') AS first,
       datetime(u.last_ns / 1000000000, 'unixepoch') AS last
FROM usage u JOIN contexts c ON c.id = u.context;

-- Each session: who, from which process, to which database, since when.
CREATE VIEW sessions AS
SELECT s.id AS session,
       CASE c.subject WHEN '' THEN 'unidentified' ELSE c.subject END AS principal,
       c.issuer, c.display, c.kind AS principal_kind, c.actor, s.method, s.strength, s.purpose,
       c.exe, c.uid, s.pid, s.cgroup,
       c.endpoint, c.environment, c.engine, c.database, c.database_user, s.destination, s.application_name,
       datetime(s.opened_ns / 1000000000, 'unixepoch') AS opened,
       datetime(s.closed_ns / 1000000000, 'unixepoch') AS closed,
       s.close_reason, s.requests, s.client_bytes, s.server_bytes
FROM session_records s JOIN contexts c ON c.id = s.context;

-- Each different statement and what was decided about it; literals are never in the text.
CREATE VIEW statements AS
SELECT id AS statement, fingerprint, text, kinds, confidence, effect, reason, rules, would, tags, policy
FROM statement_records;

-- Which statement touches which relation: read, write or define.
CREATE VIEW relations AS
SELECT statement, relation, action FROM statement_relations;

-- What each session did, by statement and hour.
CREATE VIEW activity_view AS
SELECT a.session, a.statement, datetime(a.hour * 3600, 'unixepoch') AS hour,
       a.requests, a.outcomes, a.statements, a.denied, a.failed, a.rows, a.bytes, a.duration_ns,
       datetime(a.first_ns / 1000000000, 'unixepoch') AS first,
       datetime(a.last_ns / 1000000000, 'unixepoch') AS last
FROM activity a;

-- Rare events: agent start and stop, gaps, refused connections, policies, bindings, incidents; `body` is JSON.
CREATE VIEW events AS
SELECT seq, datetime(time_ns / 1000000000, 'unixepoch') AS time, event, body FROM event_records;
