-- How many transactions were waiting for their decision at the end of each minute?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        10000 AS limit_records
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.ingested_at,
        d.decided_at
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
),

moves AS (
    SELECT date_trunc('minute', ingested_at) AS happened_minute, 1 AS arrived, 0 AS answered_now
    FROM decided
    UNION ALL
    SELECT date_trunc('minute', decided_at) AS happened_minute, 0 AS arrived, 1 AS answered_now
    FROM decided
)

SELECT
    happened_minute,
    arrived,
    answered,
    waiting,
    waiting > p.limit_records AS above_limit
FROM (
    SELECT
        happened_minute,
        CAST(sum(arrived) AS BIGINT) AS arrived,
        CAST(sum(answered_now) AS BIGINT) AS answered,
        CAST(sum(sum(arrived) - sum(answered_now)) OVER (ORDER BY happened_minute) AS BIGINT) AS waiting
    FROM moves
    GROUP BY happened_minute
) AS counted
CROSS JOIN parameters AS p
ORDER BY happened_minute
