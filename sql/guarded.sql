-- When did the guard take over, and what would the model have blocked?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        8e-1 AS threshold
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.decided_at,
        d.outcome,
        d.score,
        d.guarded,
        d.model_version
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
)

SELECT
    date_trunc('minute', d.decided_at) AS decided_minute,
    d.model_version,
    count(*) AS decisions,
    count(*) FILTER (WHERE d.guarded) AS guarded,
    count(*) FILTER (WHERE d.guarded AND d.score > p.threshold) AS guarded_above_threshold,
    count(*) FILTER (WHERE d.guarded AND d.outcome = 'BLOCKED') AS guarded_and_blocked
FROM decided AS d
CROSS JOIN parameters AS p
GROUP BY date_trunc('minute', d.decided_at), d.model_version
HAVING count(*) FILTER (WHERE d.guarded) > 0
ORDER BY decided_minute, d.model_version
