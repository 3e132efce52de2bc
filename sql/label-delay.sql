-- How long after the decision do labels arrive, by kind?
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
        d.event_time
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
),

arrivals AS (
    SELECT DISTINCT
        e.event_id,
        e.event,
        date_diff('millisecond', d.event_time, e.event_time) / 864e5 AS delay_days
    FROM decided AS d
    INNER JOIN events AS e
        ON e.transaction_id = d.transaction_id AND (e.user_id IS NULL OR e.user_id = d.user_id)
    CROSS JOIN parameters AS p
    WHERE e.dt >= CAST(CAST(p.since AS DATE) AS VARCHAR)
        AND e.broker_time >= p.since
)

SELECT
    event,
    count(*) AS labels,
    round(avg(delay_days), 2) AS mean_days,
    round(min(delay_days), 2) AS shortest_days,
    round(max(delay_days), 2) AS longest_days,
    count(*) FILTER (WHERE delay_days < 1e0) AS within_1_day,
    count(*) FILTER (WHERE delay_days < 7e0) AS within_7_days,
    count(*) FILTER (WHERE delay_days < 30e0) AS within_30_days
FROM arrivals
GROUP BY event
ORDER BY labels DESC, event
