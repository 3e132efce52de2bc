-- What share of transactions was blocked, by hour and device type?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.user_id,
        d.transaction_id,
        d.outcome,
        d.decided_at
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
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
)

SELECT
    date_trunc('hour', d.decided_at) AS decided_hour,
    b.device_type,
    count(*) AS decisions,
    count(*) FILTER (WHERE d.outcome = 'BLOCKED') AS blocked,
    round(100e0 * count(*) FILTER (WHERE d.outcome = 'BLOCKED') / count(*), 2) AS blocked_percent
FROM decided AS d
LEFT JOIN bought AS b ON b.user_id = d.user_id AND b.transaction_id = d.transaction_id
GROUP BY date_trunc('hour', d.decided_at), b.device_type
ORDER BY decided_hour, device_type
