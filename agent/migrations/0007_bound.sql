-- What each approval holds for and what it let run. `bound_to` and `ran` are hashes of all that had to be the same (text,
-- values, who, rules, catalog): where they are equal, what ran is what was approved. A lasting approval has a row for each run;
-- there `ran` is another one where literals or values differ. What was refused, and what waits, has none of `request` and `ran`.
CREATE VIEW approvals AS
WITH asked AS (
    SELECT body ->> '$.approval' AS approval, seq, time_ns, body FROM event_records WHERE event = 'approval_requested'
), came AS (
    SELECT body ->> '$.approval' AS approval, time_ns, body ->> '$.how' AS how, body ->> '$.request' AS request,
           body ->> '$.ran' AS ran FROM event_records WHERE event = 'approval_ended'
    UNION ALL
    SELECT body ->> '$.approval', time_ns, 'lasting', body ->> '$.request', body ->> '$.ran'
    FROM event_records WHERE event = 'approval_used'
)
SELECT a.approval, datetime(a.time_ns / 1000000000, 'unixepoch') AS requested, a.body ->> '$.session' AS session,
       a.body ->> '$.requester.principal.subject' AS requester, a.body ->> '$.text' AS text,
       a.body ->> '$.bound.to' AS bound_to, a.body ->> '$.bound.policy' AS policy, a.body ->> '$.bound.catalog' AS catalog,
       c.how, datetime(c.time_ns / 1000000000, 'unixepoch') AS ended, c.request, c.ran
FROM asked a LEFT JOIN came c ON c.approval = a.approval;

-- When the provider last vouched for a session's identity: at its opening, or when it went on with a newer log-in.
ALTER TABLE session_records ADD COLUMN verified_s INTEGER;
CREATE INDEX session_by_verification ON session_records (context, verified_s);
