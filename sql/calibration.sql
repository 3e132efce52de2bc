-- Is a score of 0.7 fraud in seven of ten cases? Score bands against labels.
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
        d.score,
        d.outcome
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
    band / 10e0 AS score_from,
    count(*) AS decisions,
    count(*) FILTER (WHERE outcome = 'BLOCKED') AS blocked,
    count(*) FILTER (WHERE l.is_fraud) AS fraud,
    count(*) FILTER (WHERE l.is_good) AS good,
    round(avg(score), 4) AS mean_score,
    round(1e0 * count(*) FILTER (WHERE l.is_fraud) / NULLIF(count(*) FILTER (WHERE l.is_fraud OR l.is_good), 0), 4) AS fraud_share_of_labelled
FROM (
    SELECT decision_id, outcome, score, CASE WHEN score >= 1e0 THEN 9e0 ELSE floor(score * 10e0) END AS band
    FROM decided
) AS banded
LEFT JOIN labelled AS l ON l.decision_id = banded.decision_id
GROUP BY band
ORDER BY score_from
