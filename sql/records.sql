-- How many records of each topic are in the lake, by hour, and how many could not be read?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until
),

arrived AS (
    SELECT 'transactions' AS source, dt, hour, broker_time, problem, "partition", "offset" FROM transactions
    UNION ALL
    SELECT 'user_actions' AS source, dt, hour, broker_time, problem, "partition", "offset" FROM user_actions
    UNION ALL
    SELECT 'events' AS source, dt, hour, broker_time, problem, "partition", "offset" FROM events
    UNION ALL
    SELECT 'approved' AS source, dt, hour, broker_time, problem, "partition", "offset" FROM approved
    UNION ALL
    SELECT 'blocked' AS source, dt, hour, broker_time, problem, "partition", "offset" FROM blocked
    UNION ALL
    SELECT 'dead_letters' AS source, dt, hour, broker_time, problem, "partition", "offset" FROM dead_letters
)

SELECT
    a.dt,
    a.hour,
    a.source,
    count(*) AS records,
    count(DISTINCT a."partition") AS partitions,
    count(a.problem) AS unreadable,
    min(a.broker_time) AS first_at,
    max(a.broker_time) AS last_at
FROM arrived AS a
CROSS JOIN parameters AS p
WHERE a.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
    AND a.broker_time >= p.since
    AND a.broker_time < p.until
GROUP BY a.dt, a.hour, a.source
ORDER BY a.dt, a.hour, a.source
