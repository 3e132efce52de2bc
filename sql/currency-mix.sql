-- Which currencies are paid in, and how do their decisions differ?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.currency,
        d.amount_minor,
        d.outcome,
        d.score
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
)

SELECT
    currency,
    count(*) AS decisions,
    round(100e0 * count(*) / sum(count(*)) OVER (), 2) AS share_percent,
    CAST(sum(amount_minor) AS BIGINT) AS amount_minor,
    round(avg(amount_minor), 1) AS mean_minor,
    round(100e0 * count(*) FILTER (WHERE outcome = 'BLOCKED') / count(*), 2) AS blocked_percent,
    round(avg(score), 5) AS mean_score
FROM decided
GROUP BY currency
ORDER BY decisions DESC, currency
