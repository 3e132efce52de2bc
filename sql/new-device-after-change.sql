-- Who bought from a device that was new to them within a day of changing password, e-mail, phone or address?
WITH parameters AS (
    SELECT
        TIMESTAMP '2020-01-01 00:00:00' AS since,
        TIMESTAMP '2100-01-01 00:00:00' AS until,
        24 AS hours
),

uses AS (
    SELECT
        t.user_id,
        t.device_id,
        t.transaction_id,
        t.event_time,
        t.amount_minor,
        t.currency,
        row_number() OVER (PARTITION BY t.user_id, t.device_id ORDER BY t.event_time, t."partition", t."offset") AS nth_use,
        row_number() OVER (PARTITION BY t.user_id ORDER BY t.event_time, t."partition", t."offset") AS nth_purchase
    FROM transactions AS t
    CROSS JOIN parameters AS p
    WHERE t.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND t.broker_time >= p.since
        AND t.broker_time < p.until
        AND t.problem IS NULL
),

changes AS (
    SELECT DISTINCT
        a.action_id,
        a.user_id,
        a.action,
        a.event_time
    FROM user_actions AS a
    CROSS JOIN parameters AS p
    WHERE a.dt BETWEEN CAST(CAST(p.since AS DATE) AS VARCHAR) AND CAST(CAST(p.until AS DATE) AS VARCHAR)
        AND a.broker_time >= p.since
        AND a.broker_time < p.until
        AND a.action IN ('password_changed', 'email_changed', 'phone_changed', 'address_changed')
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
)

SELECT
    u.user_id,
    c.action,
    c.event_time AS changed_at,
    u.event_time AS bought_at,
    round(date_diff('millisecond', c.event_time, u.event_time) / 3600e3, 2) AS hours_between,
    u.device_id,
    u.transaction_id,
    u.amount_minor,
    u.currency,
    d.outcome,
    round(d.score, 4) AS score
FROM uses AS u
CROSS JOIN parameters AS p
INNER JOIN changes AS c ON c.user_id = u.user_id
LEFT JOIN decided AS d ON d.user_id = u.user_id AND d.transaction_id = u.transaction_id
WHERE u.nth_use = 1
    AND u.nth_purchase > 1
    AND u.event_time >= c.event_time
    AND date_diff('millisecond', c.event_time, u.event_time) <= p.hours * 3600000
ORDER BY bought_at, u.user_id, c.action, changed_at
