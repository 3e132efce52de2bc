-- How many transactions came late or from the future, by hour, and how far behind were they?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.late,
        d.ahead,
        d.event_time,
        d.ingested_at,
        d.outcome
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
)

SELECT
    date_trunc('hour', ingested_at) AS ingested_hour,
    count(*) AS decisions,
    count(*) FILTER (WHERE late) AS late,
    count(*) FILTER (WHERE ahead) AS ahead,
    count(*) FILTER (WHERE late AND outcome = 'BLOCKED') AS late_blocked,
    round(max(date_diff('millisecond', event_time, ingested_at)) FILTER (WHERE late) / 3600e3, 1) AS farthest_behind_hours,
    round(max(date_diff('millisecond', ingested_at, event_time)) FILTER (WHERE ahead) / 3600e3, 1) AS farthest_ahead_hours
FROM decided
GROUP BY date_trunc('hour', ingested_at)
ORDER BY ingested_hour
