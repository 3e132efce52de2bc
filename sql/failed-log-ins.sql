-- Who failed to log in several times, and what was bought on that account afterwards?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        3 AS failures_min,
        24 AS hours
),

failures AS (
    SELECT
        a.user_id,
        count(DISTINCT a.action_id) AS failures,
        count(DISTINCT a.network) AS networks,
        max(a.event_time) AS last_failed_at
    FROM user_actions AS a
    CROSS JOIN parameters AS p
    WHERE a.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND a.broker_time >= p.since
        AND a.broker_time < p.until
        AND a.action = 'logged_in'
        AND a.outcome = 'failure'
    GROUP BY a.user_id
),

decided AS (
    -- Published again it is the same row again: once is enough.
    SELECT DISTINCT
        d.decision_id,
        d.user_id,
        d.transaction_id,
        d.outcome,
        d.event_time
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
)

SELECT
    f.user_id,
    f.failures,
    f.networks,
    f.last_failed_at,
    count(d.decision_id) AS decisions_after,
    count(*) FILTER (WHERE d.outcome = 'BLOCKED') AS blocked_after
FROM failures AS f
CROSS JOIN parameters AS p
LEFT JOIN decided AS d
    ON d.user_id = f.user_id
    AND d.event_time >= f.last_failed_at
    AND date_diff('millisecond', f.last_failed_at, d.event_time) <= p.hours * 3600000
WHERE f.failures >= p.failures_min
GROUP BY f.user_id, f.failures, f.networks, f.last_failed_at
ORDER BY f.failures DESC, f.user_id
