-- Which transactions did producers send more than once, and was it always the same purchase?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        100 AS transactions
),

sent AS (
    SELECT
        t.user_id,
        t.transaction_id,
        count(*) AS records,
        count(DISTINCT t.amount_minor) AS amounts,
        count(DISTINCT t.device_id) AS devices,
        min(t.broker_time) AS first_at,
        max(t.broker_time) AS last_at
    FROM transactions AS t
    CROSS JOIN parameters AS p
    WHERE t.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND t.broker_time >= p.since
        AND t.broker_time < p.until
        AND t.problem IS NULL
    GROUP BY t.user_id, t.transaction_id
    HAVING count(*) > 1
)

SELECT
    user_id,
    transaction_id,
    records,
    amounts > 1 OR devices > 1 AS differ,
    first_at,
    date_diff('millisecond', first_at, last_at) / 1e3 AS seconds_between
FROM (
    SELECT sent.*, row_number() OVER (ORDER BY records DESC, first_at, user_id, transaction_id) AS place
    FROM sent
) AS ranked
CROSS JOIN parameters AS p
WHERE place <= p.transactions
ORDER BY place
