-- What happened to one user: actions, transactions, decisions and labels in order? Without user_id: the user blocked last.
-- Labels that name no user are left out.
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        '' AS user_id
),

last_blocked AS (
    SELECT max_by(d.user_id, d.decided_at) AS user_id
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND d.outcome = 'BLOCKED'
        AND d.decided_at IS NOT NULL
),

chosen AS (
    SELECT CASE WHEN p.user_id = '' THEN b.user_id ELSE p.user_id END AS user_id
    FROM parameters AS p
    CROSS JOIN last_blocked AS b
),

story AS (
    SELECT
        t.event_time AS happened_at,
        t.broker_time AS arrived_at,
        'action' AS what,
        t.action_id AS id,
        t.action || CASE WHEN t.outcome IS NULL THEN '' ELSE ' ' || t.outcome END || CASE WHEN t.device_id IS NULL THEN '' ELSE ' on ' || t.device_id END AS detail
    FROM user_actions AS t
    CROSS JOIN parameters AS p
    CROSS JOIN chosen AS c
    WHERE t.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND t.broker_time >= p.since
        AND t.broker_time < p.until
        AND t.user_id = c.user_id
    UNION ALL
    SELECT
        t.event_time AS happened_at,
        t.broker_time AS arrived_at,
        'transaction' AS what,
        t.transaction_id AS id,
        CAST(t.amount_minor AS VARCHAR) || ' minor units of ' || t.currency || ' on ' || t.device_type || ' ' || t.device_id AS detail
    FROM transactions AS t
    CROSS JOIN parameters AS p
    CROSS JOIN chosen AS c
    WHERE t.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND t.broker_time >= p.since
        AND t.broker_time < p.until
        AND t.user_id = c.user_id
    UNION ALL
    SELECT
        t.decided_at AS happened_at,
        t.broker_time AS arrived_at,
        'decision' AS what,
        t.transaction_id AS id,
        t.outcome || ' with score ' || CAST(round(t.score, 3) AS VARCHAR) AS detail
    FROM decisions AS t
    CROSS JOIN parameters AS p
    CROSS JOIN chosen AS c
    WHERE t.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND t.broker_time >= p.since
        AND t.broker_time < p.until
        AND t.user_id = c.user_id
    UNION ALL
    SELECT
        t.event_time AS happened_at,
        t.broker_time AS arrived_at,
        'label' AS what,
        t.transaction_id AS id,
        t.event AS detail
    FROM events AS t
    CROSS JOIN parameters AS p
    CROSS JOIN chosen AS c
    WHERE t.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND t.broker_time >= p.since
        AND t.broker_time < p.until
        AND t.user_id = c.user_id
)

SELECT DISTINCT
    happened_at,
    arrived_at,
    what,
    id,
    detail
FROM story
ORDER BY arrived_at, happened_at, what, id
