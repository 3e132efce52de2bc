-- How do the model versions compare?
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
        d.outcome,
        d.score,
        d.model_version,
        d.model_digest,
        d.guarded,
        d.decided_at
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
)

SELECT
    d.model_version,
    d.model_digest,
    min(d.decided_at) AS first_at,
    max(d.decided_at) AS last_at,
    count(*) AS decisions,
    round(avg(d.score), 5) AS mean_score,
    round(100e0 * count(*) FILTER (WHERE d.outcome = 'BLOCKED') / count(*), 2) AS blocked_percent,
    round(100e0 * count(*) FILTER (WHERE d.guarded) / count(*), 2) AS guarded_percent,
    count(*) FILTER (WHERE l.is_fraud) AS fraud,
    round(
        100e0 * count(*) FILTER (WHERE d.outcome = 'BLOCKED' AND l.is_fraud)
        / NULLIF(count(*) FILTER (WHERE d.outcome = 'BLOCKED' AND (l.is_fraud OR l.is_good)), 0), 2
    ) AS precision_percent,
    round(
        100e0 * count(*) FILTER (WHERE d.outcome = 'BLOCKED' AND l.is_fraud) / NULLIF(count(*) FILTER (WHERE l.is_fraud), 0), 2
    ) AS recall_percent
FROM decided AS d
LEFT JOIN labelled AS l ON l.decision_id = d.decision_id
GROUP BY d.model_version, d.model_digest
ORDER BY first_at, d.model_version
