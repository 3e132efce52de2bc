-- Which devices are used by many users, and how often are they blocked?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        3 AS users_min,
        50 AS devices
),

bought AS (
    -- A producer may send a transaction more than once; the first record counts.
    SELECT
        t.user_id,
        t.transaction_id,
        min_by(t.device_type, t."offset") AS device_type,
        min_by(t.device_id, t."offset") AS device_id,
        min_by(t.merchant_id, t."offset") AS merchant_id
    FROM transactions AS t
    CROSS JOIN parameters AS p
    WHERE t.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND t.broker_time >= p.since
        AND t.broker_time < p.until
        AND t.problem IS NULL
    GROUP BY t.user_id, t.transaction_id
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.user_id,
        d.transaction_id,
        d.outcome
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
)

SELECT
    device_id,
    device_type,
    users,
    transactions,
    blocked,
    round(100e0 * blocked / transactions, 1) AS blocked_percent
FROM (
    SELECT
        b.device_id,
        min(b.device_type) AS device_type,
        count(DISTINCT b.user_id) AS users,
        count(*) AS transactions,
        count(*) FILTER (WHERE d.outcome = 'BLOCKED') AS blocked,
        row_number() OVER (ORDER BY count(DISTINCT b.user_id) DESC, count(*) DESC, b.device_id) AS place
    FROM bought AS b
    LEFT JOIN decided AS d ON d.user_id = b.user_id AND d.transaction_id = b.transaction_id
    GROUP BY b.device_id
) AS ranked
CROSS JOIN parameters AS p
WHERE place <= p.devices AND users >= p.users_min
ORDER BY place
