-- How long did it take from a transaction's arrival in Kafka to its decision, by minute?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        500 AS limit_ms
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
)

SELECT
    date_trunc('minute', ingested_at) AS ingested_minute,
    count(*) AS decisions,
    round(avg(took_ms), 1) AS mean_ms,
    CAST(approx_percentile(took_ms, 0.50) AS BIGINT) AS p50_ms,
    CAST(approx_percentile(took_ms, 0.95) AS BIGINT) AS p95_ms,
    CAST(approx_percentile(took_ms, 0.99) AS BIGINT) AS p99_ms,
    max(took_ms) AS max_ms,
    count(*) FILTER (WHERE took_ms > limit_ms) AS above_limit
FROM (
    SELECT
        d.ingested_at,
        p.limit_ms,
        date_diff('millisecond', d.ingested_at, d.decided_at) AS took_ms
    FROM decided AS d
    CROSS JOIN parameters AS p
) AS timed
GROUP BY date_trunc('minute', ingested_at)
ORDER BY ingested_minute
