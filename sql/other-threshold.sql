-- What would other thresholds have blocked, saved and cost, by what is known today? Per currency.
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        'USD' AS currency
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.user_id,
        d.transaction_id,
        d.score,
        d.amount_minor,
        d.currency
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
),

labelled AS (
    -- Of several labels the latest stands; of one moment the gravest.
    SELECT
        decision_id,
        event IN ('chargeback', 'confirmed_fraud') AS is_fraud,
        event = 'confirmed_good' AS is_good
    FROM (
        SELECT
            d.decision_id,
            e.event,
            row_number() OVER (
                PARTITION BY d.decision_id
                ORDER BY
                    e.event_time DESC,
                    CASE e.event WHEN 'confirmed_fraud' THEN 4 WHEN 'confirmed_good' THEN 3 WHEN 'chargeback' THEN 2 ELSE 1 END DESC,
                    e.event_id DESC
            ) AS place
        FROM decided AS d
        INNER JOIN events AS e
            ON e.transaction_id = d.transaction_id AND (e.user_id IS NULL OR e.user_id = d.user_id)
        CROSS JOIN parameters AS p
        WHERE e.dt >= CAST(CAST(p.since AS DATE) AS VARCHAR)
            AND e.broker_time >= p.since
            AND e.event IN ('chargeback', 'refund', 'confirmed_fraud', 'confirmed_good')
    ) AS ranked
    WHERE place = 1
),

thresholds AS (
    SELECT threshold
    FROM (
        VALUES (1e-1), (2e-1), (3e-1), (4e-1), (5e-1), (6e-1), (7e-1), (8e-1), (9e-1), (95e-2)
    ) AS list (threshold)
)

SELECT
    t.threshold,
    count(*) FILTER (WHERE d.score > t.threshold) AS would_block,
    round(100e0 * count(*) FILTER (WHERE d.score > t.threshold) / count(*), 2) AS would_block_percent,
    count(*) FILTER (WHERE d.score > t.threshold AND l.is_fraud) AS fraud_blocked,
    count(*) FILTER (WHERE d.score > t.threshold AND l.is_good) AS good_blocked,
    count(*) FILTER (WHERE d.score <= t.threshold AND l.is_fraud) AS fraud_approved,
    CAST(COALESCE(sum(d.amount_minor) FILTER (WHERE d.score > t.threshold AND l.is_fraud), 0) AS BIGINT) AS saved_minor,
    CAST(COALESCE(sum(d.amount_minor) FILTER (WHERE d.score > t.threshold AND l.is_good), 0) AS BIGINT) AS good_blocked_minor,
    CAST(COALESCE(sum(d.amount_minor) FILTER (WHERE d.score <= t.threshold AND l.is_fraud), 0) AS BIGINT) AS lost_minor
FROM decided AS d
CROSS JOIN parameters AS p
CROSS JOIN thresholds AS t
LEFT JOIN labelled AS l ON l.decision_id = d.decision_id
WHERE d.currency = p.currency
GROUP BY t.threshold
ORDER BY t.threshold
