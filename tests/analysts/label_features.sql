-- For label_features.py: the labels in the lake, and every decision with its device and its features by name.
SELECT
    'label' AS what,
    user_id,
    transaction_id,
    device_id,
    event AS verdict,
    event_id,
    epoch_ms(event_time) AS at_ms,
    epoch_ms(broker_time) AS arrived_ms,
    NULL AS feature,
    NULL AS number
FROM events
WHERE problem IS NULL
UNION ALL
SELECT
    'feature' AS what,
    d.user_id,
    d.transaction_id,
    t.device_id,
    NULL AS verdict,
    NULL AS event_id,
    epoch_ms(d.event_time) AS at_ms,
    NULL AS arrived_ms,
    n.name AS feature,
    d.features[n.position] AS number
FROM decisions AS d
INNER JOIN transactions AS t ON t.user_id = d.user_id AND t.transaction_id = d.transaction_id
INNER JOIN feature_names AS n ON n.features_version = d.features_version
WHERE d.transaction_id LIKE 'after-%'
    AND regexp_matches(n.name, '(frauds|labels|risk)_\d+d$|_fraud_days$')
