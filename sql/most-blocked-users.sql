-- Which users were blocked most often?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        20 AS users
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.user_id,
        d.outcome,
        d.score,
        d.decided_at
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
)

SELECT
    user_id,
    decisions,
    blocked,
    round(100e0 * blocked / decisions, 1) AS blocked_percent,
    round(mean_score, 3) AS mean_score,
    last_blocked_at
FROM (
    SELECT
        user_id,
        count(*) AS decisions,
        count(*) FILTER (WHERE outcome = 'BLOCKED') AS blocked,
        avg(score) AS mean_score,
        max(decided_at) FILTER (WHERE outcome = 'BLOCKED') AS last_blocked_at,
        row_number() OVER (ORDER BY count(*) FILTER (WHERE outcome = 'BLOCKED') DESC, count(*) DESC, user_id) AS place
    FROM decided
    GROUP BY user_id
) AS ranked
CROSS JOIN parameters AS p
WHERE place <= p.users AND blocked > 0
ORDER BY place
