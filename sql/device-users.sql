-- Who used a device? Without device_id: the device with the most users.
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        '' AS device_id
),

used AS (
    SELECT
        t.device_id,
        t.user_id,
        t.transaction_id,
        t.device_type,
        t.event_time
    FROM transactions AS t
    CROSS JOIN parameters AS p
    WHERE t.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND t.broker_time >= p.since
        AND t.broker_time < p.until
        AND t.problem IS NULL
),

most_shared AS (
    SELECT device_id
    FROM used
    GROUP BY device_id
    ORDER BY count(DISTINCT user_id) DESC, device_id
    LIMIT 1
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
    u.device_id,
    u.user_id,
    min(u.device_type) AS device_type,
    count(DISTINCT u.transaction_id) AS transactions,
    count(DISTINCT CASE WHEN d.outcome = 'BLOCKED' THEN d.decision_id END) AS blocked,
    min(u.event_time) AS first_used_at,
    max(u.event_time) AS last_used_at
FROM used AS u
CROSS JOIN parameters AS p
CROSS JOIN most_shared AS m
LEFT JOIN decided AS d ON d.user_id = u.user_id AND d.transaction_id = u.transaction_id
WHERE u.device_id = CASE WHEN p.device_id = '' THEN m.device_id ELSE p.device_id END
GROUP BY u.device_id, u.user_id
ORDER BY transactions DESC, u.user_id
