-- Was every transaction decided once? Counts of republished, contradicting and unanswered ones.
-- An unanswered transaction is on its way, dead-lettered, or outside of the window; decisions of nothing were asked for before it.
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
        d.score
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
),

rows_published AS (
    SELECT count(*) AS published
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
),

answers AS (
    SELECT user_id, transaction_id, count(*) AS answers
    FROM decided
    GROUP BY user_id, transaction_id
),

wanted AS (
    SELECT DISTINCT t.user_id, t.transaction_id
    FROM transactions AS t
    CROSS JOIN parameters AS p
    WHERE t.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND t.broker_time >= p.since
        AND t.broker_time < p.until
        AND t.problem IS NULL
),

letters AS (
    SELECT count(*) AS letters
    FROM (
        SELECT DISTINCT l.source_topic, l.source_partition, l.source_offset
        FROM dead_letters AS l
        CROSS JOIN parameters AS p
        WHERE l.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND l.broker_time >= p.since
        AND l.broker_time < p.until
            AND l.source_topic = 'transactions'
    ) AS of_transactions
)

SELECT
    count(w.transaction_id) AS transactions,
    count(*) FILTER (WHERE a.answers = 1) AS decided_once,
    count(*) FILTER (WHERE a.answers > 1) AS contradicting,
    count(*) FILTER (WHERE w.transaction_id IS NOT NULL AND a.answers IS NULL) AS unanswered,
    count(*) FILTER (WHERE w.transaction_id IS NULL) AS decisions_of_nothing,
    CAST(max(r.published) - COALESCE(sum(a.answers), 0) AS BIGINT) AS republished,
    max(l.letters) AS dead_lettered
FROM wanted AS w
FULL JOIN answers AS a ON a.user_id = w.user_id AND a.transaction_id = w.transaction_id
CROSS JOIN rows_published AS r
CROSS JOIN letters AS l
