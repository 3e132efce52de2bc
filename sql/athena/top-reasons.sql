-- Which reasons stand behind the decisions, and behind the blocked ones?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.outcome,
        d.reasons
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
),

listed AS (
    SELECT
        d.outcome,
        r.place,
        r.code,
        r.contribution
    FROM decided AS d
    CROSS JOIN UNNEST(d.reasons) WITH ORDINALITY AS r (code, contribution, place)
)

SELECT
    code,
    count(*) AS decisions,
    count(*) FILTER (WHERE outcome = 'BLOCKED') AS blocked,
    count(*) FILTER (WHERE place = 1) AS as_first_reason,
    round(avg(contribution), 3) AS mean_contribution
FROM listed
GROUP BY code
ORDER BY blocked DESC, decisions DESC, code
