-- Which decisions came out of order: the user's newer transaction had been decided before?
-- It was decided as of its own time, with a state that knew more than it would have in order.
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
        d.state_version,
        d.event_time,
        -- What is from the future counts as of its arrival.
        CASE WHEN d.ahead THEN d.ingested_at ELSE d.event_time END AS counted_at,
        d.ingested_at,
        d.decided_at,
        d.late
    FROM decisions AS d
    CROSS JOIN parameters AS p
    WHERE d.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND d.broker_time >= p.since
        AND d.broker_time < p.until
        AND COALESCE(d.reduced, false) = false
),

seen AS (
    SELECT
        decision_id,
        user_id,
        transaction_id,
        outcome,
        score,
        event_time,
        counted_at,
        decided_at,
        late,
        max(counted_at) OVER (
            PARTITION BY user_id
            -- Several of one batch have one version.
            ORDER BY state_version, ingested_at, decision_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS newest_before
    FROM decided
)

SELECT
    user_id,
    transaction_id,
    outcome,
    round(score, 4) AS score,
    event_time,
    newest_before AS newest_decided_before,
    date_diff('millisecond', counted_at, newest_before) / 1e3 AS seconds_out_of_order,
    late,
    decided_at
FROM seen
WHERE counted_at < newest_before
ORDER BY decided_at, user_id, transaction_id
