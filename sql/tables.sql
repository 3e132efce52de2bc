-- The tables of the lake, with DuckDB's types; on Athena the same tables stand in infra/60-analysts.yaml, and a test compares them.
-- Times are UTC, to the millisecond. Amounts are in minor units of the currency (cents, or whole yen). Every table has its hour as
-- dt ('2026-11-28') and hour ('17'), which is that of broker_time. A row whose value could not be read has a problem, the original bytes
-- as value, and nothing in the other columns.

CREATE TABLE transactions (
    "partition" INTEGER,        -- of the topic
    "offset" BIGINT,            -- with the partition it names the record
    broker_time TIMESTAMP,      -- when Kafka took it
    problem VARCHAR,
    value BLOB,
    transaction_id VARCHAR,     -- unique for its user
    user_id VARCHAR,
    event_time TIMESTAMP,       -- when it happened, as its producer says
    amount_minor BIGINT,
    currency VARCHAR,           -- ISO 4217
    device_type VARCHAR,
    device_id VARCHAR,
    network VARCHAR,            -- keyed hash of the network that the address belongs to
    agent VARCHAR,              -- keyed hash of the program
    merchant_id VARCHAR,
    dt VARCHAR,
    hour VARCHAR
);

CREATE TABLE user_actions (
    "partition" INTEGER,
    "offset" BIGINT,
    broker_time TIMESTAMP,
    problem VARCHAR,
    value BLOB,
    action_id VARCHAR,
    user_id VARCHAR,
    event_time TIMESTAMP,
    action VARCHAR,             -- registered, logged_in, password_changed, email_changed, address_changed, phone_changed, device_added, ...
    device_id VARCHAR,
    network VARCHAR,            -- keyed hash
    outcome VARCHAR,            -- success or failure; of log-ins only
    email_hash VARCHAR,         -- keyed hashes: the same person has the same, and nobody can go back
    phone_hash VARCHAR,
    address_hash VARCHAR,
    dt VARCHAR,
    hour VARCHAR
);

CREATE TABLE events (
    "partition" INTEGER,
    "offset" BIGINT,
    broker_time TIMESTAMP,
    problem VARCHAR,
    value BLOB,
    event_id VARCHAR,
    event_time TIMESTAMP,       -- when the label became known
    event VARCHAR,              -- chargeback, refund, confirmed_fraud, confirmed_good, or something else
    user_id VARCHAR,            -- may be missing
    transaction_id VARCHAR,
    device_id VARCHAR,
    dt VARCHAR,
    hour VARCHAR
);

CREATE TABLE approved (
    "partition" INTEGER,
    "offset" BIGINT,
    broker_time TIMESTAMP,
    problem VARCHAR,
    value BLOB,
    decision_id VARCHAR,        -- of user and transaction; the same decision may be published more than once
    transaction_id VARCHAR,
    user_id VARCHAR,
    outcome VARCHAR,            -- APPROVED, REVIEW or BLOCKED
    score DOUBLE,               -- calibrated probability of fraud
    amount_minor BIGINT,
    currency VARCHAR,
    reasons STRUCT(code VARCHAR, contribution DOUBLE)[],  -- at most 4, the largest first; contribution in log-odds
    model_version VARCHAR,
    model_digest VARCHAR,
    features_version INTEGER,
    features DOUBLE[],          -- what the model saw; names in feature_names, missing is NULL
    state_version BIGINT,       -- of the user's item after this decision: their order
    event_time TIMESTAMP,
    ingested_at TIMESTAMP,      -- when Kafka took the transaction
    decided_at TIMESTAMP,
    late BOOLEAN,               -- more than a day behind the user's newest event
    ahead BOOLEAN,              -- from the future: decided as of ingested_at
    degraded BOOLEAN,           -- decided without an input
    guarded BOOLEAN,            -- the fallback decided, because the model blocked unusually many
    missing VARCHAR[],          -- the inputs that it was decided without
    reduced BOOLEAN,            -- published again from what remained: without amount, reasons, features and times
    dt VARCHAR,
    hour VARCHAR
);

CREATE TABLE blocked (
    "partition" INTEGER,
    "offset" BIGINT,
    broker_time TIMESTAMP,
    problem VARCHAR,
    value BLOB,
    decision_id VARCHAR,
    transaction_id VARCHAR,
    user_id VARCHAR,
    outcome VARCHAR,
    score DOUBLE,
    amount_minor BIGINT,
    currency VARCHAR,
    reasons STRUCT(code VARCHAR, contribution DOUBLE)[],
    model_version VARCHAR,
    model_digest VARCHAR,
    features_version INTEGER,
    features DOUBLE[],
    state_version BIGINT,
    event_time TIMESTAMP,
    ingested_at TIMESTAMP,
    decided_at TIMESTAMP,
    late BOOLEAN,
    ahead BOOLEAN,
    degraded BOOLEAN,
    guarded BOOLEAN,
    missing VARCHAR[],
    reduced BOOLEAN,
    dt VARCHAR,
    hour VARCHAR
);

CREATE TABLE dead_letters (
    "partition" INTEGER,
    "offset" BIGINT,
    broker_time TIMESTAMP,
    problem VARCHAR,
    value BLOB,
    reason VARCHAR,
    source_topic VARCHAR,
    source_partition INTEGER,
    source_offset BIGINT,
    source_time TIMESTAMP,
    detail VARCHAR,
    original BLOB,              -- the record's value as it came
    dt VARCHAR,
    hour VARCHAR
);
