-- What was dead-lettered, by reason and hour?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until
),

letters AS (
    SELECT DISTINCT
        l.source_topic,
        l.source_partition,
        l.source_offset,
        l.source_time,
        l.reason,
        l.detail
    FROM dead_letters AS l
    CROSS JOIN parameters AS p
    WHERE l.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND l.broker_time >= p.since
        AND l.broker_time < p.until
)

SELECT
    date_trunc('hour', source_time) AS source_hour,
    source_topic,
    reason,
    count(*) AS records,
    min(detail) AS for_example
FROM letters
GROUP BY date_trunc('hour', source_time), source_topic, reason
ORDER BY source_hour, source_topic, records DESC, reason
