-- Which decisions were made without an input, by hour?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.decided_at,
        d.degraded,
        d.outcome
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
)

SELECT
    date_trunc('hour', decided_at) AS decided_hour,
    count(*) AS decisions,
    count(*) FILTER (WHERE degraded) AS degraded,
    round(100e0 * count(*) FILTER (WHERE degraded) / count(*), 3) AS degraded_percent,
    count(*) FILTER (WHERE degraded AND outcome = 'BLOCKED') AS degraded_blocked
FROM decided
GROUP BY date_trunc('hour', decided_at)
ORDER BY decided_hour
