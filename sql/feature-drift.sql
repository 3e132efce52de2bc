-- How does a feature move from day to day?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        'amount' AS feature
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.decided_at,
        d.features_version,
        d.features
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
),

numbers AS (
    SELECT
        CAST(d.decided_at AS DATE) AS decided_day,
        d.features_version,
        d.features[n.position] AS number
    FROM decided AS d
    CROSS JOIN parameters AS p
    INNER JOIN feature_names AS n ON n.features_version = d.features_version AND n.name = p.feature
)

SELECT
    decided_day,
    features_version,
    count(*) AS decisions,
    round(100e0 * count(*) FILTER (WHERE number IS NULL) / count(*), 2) AS missing_percent,
    round(avg(number), 4) AS mean,
    round(stddev_samp(number), 4) AS deviation,
    min(number) AS smallest,
    max(number) AS largest,
    round(avg(number) - lag(avg(number)) OVER (PARTITION BY features_version ORDER BY decided_day), 4) AS mean_moved
FROM numbers
GROUP BY decided_day, features_version
ORDER BY decided_day, features_version
