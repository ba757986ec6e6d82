-- The contract of the lake: every relation that people and programs may rely on, with its types.
-- Times are TIMESTAMP in UTC; money is DECIMAL(38,12) in US dollars; tokens are BIGINT and NULL when unknown, never 0;
-- ids are lower-case hex text. JSON columns hold one JSON document as text.

-- One row per (tenant, trace_id, span_id); append-only.
CREATE TABLE spans (
    tenant                   VARCHAR   NOT NULL,
    trace_id                 VARCHAR   NOT NULL,
    span_id                  VARCHAR   NOT NULL,
    parent_span_id           VARCHAR,            -- NULL = root
    name                     VARCHAR   NOT NULL,
    kind                     VARCHAR   NOT NULL, -- UNSPECIFIED, INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER
    start_time               TIMESTAMP NOT NULL, -- start_unix_nano cut to microseconds
    start_unix_nano          BIGINT    NOT NULL,
    end_unix_nano            BIGINT    NOT NULL,
    duration_ns              BIGINT,             -- NULL where the end is missing or before the start
    status_code              VARCHAR   NOT NULL, -- UNSET, OK, ERROR
    status_message           VARCHAR,
    trace_state              VARCHAR,
    flags                    BIGINT,
    service_name             VARCHAR,
    service_namespace        VARCHAR,
    service_version          VARCHAR,
    deployment_environment   VARCHAR,
    scope_name               VARCHAR,
    scope_version            VARCHAR,
    schema_url               VARCHAR,            -- the scope's, else the resource's
    resource_attributes      JSON,
    scope_attributes         JSON,
    attributes               JSON,               -- every attribute as received, except what the content gate takes
    events                   JSON,
    links                    JSON,
    evidence                 JSON,               -- numbers, ids, models and tiers out of gated content, hashes of prompts if switched on; never text
    dropped_attributes_count BIGINT,
    dropped_events_count     BIGINT,
    dropped_links_count      BIGINT,
    dialect                  VARCHAR,            -- the dialect table that claimed the record
    role                     VARCHAR,            -- llm, embeddings, tool, agent, workflow, retrieval, other; NULL = not GenAI
    operation                VARCHAR,
    provider                 VARCHAR,            -- canonical gen_ai.provider.name
    request_model            VARCHAR,
    response_model           VARCHAR,
    model_region             VARCHAR,
    response_id              VARCHAR,
    finish_reasons           VARCHAR[],
    service_tier             VARCHAR,
    speed                    VARCHAR,
    batch                    BOOLEAN,
    error_type               VARCHAR,
    time_to_first_token_ms   DOUBLE,
    session_id               VARCHAR,
    user_id                  VARCHAR,
    agent_name               VARCHAR,
    agent_id                 VARCHAR,
    tool_name                VARCHAR,
    tool_call_id             VARCHAR,
    input_tokens             BIGINT,             -- INCLUDES cache read and write
    cache_read_tokens        BIGINT,
    cache_write_tokens       BIGINT,             -- all time-to-live classes together
    cache_write_5m_tokens    BIGINT,
    cache_write_30m_tokens   BIGINT,
    cache_write_1h_tokens    BIGINT,
    cache_write_12h_tokens   BIGINT,
    output_tokens            BIGINT,             -- INCLUDES reasoning
    reasoning_tokens         BIGINT,
    audio_input_tokens       BIGINT,
    audio_output_tokens      BIGINT,
    image_input_tokens       BIGINT,
    token_semantics          VARCHAR,            -- inclusive, exclusive, unknown: what the sender's input count means
    token_evidence           VARCHAR,            -- what decided token_semantics
    reported_cost_usd        DECIMAL(38, 12),
    billing_account          VARCHAR,
    plan_tier                VARCHAR,
    notes                    VARCHAR[],          -- closed vocabulary: semconv/notes.py
    source                   VARCHAR   NOT NULL, -- otlp, backfill:<file name>
    received_at              TIMESTAMP NOT NULL,
    load_id                  VARCHAR   NOT NULL  -- -> loads.load_id
);

-- One row per log record that `keep` keeps; append-only; identity = (tenant, record_hash).
CREATE TABLE log_records (
    tenant                   VARCHAR   NOT NULL,
    record_hash              VARCHAR   NOT NULL, -- 128-bit hash of (tenant, resource, scope, time, event name, attributes, body)
    time                     TIMESTAMP NOT NULL, -- time_unix_nano, else observed_time_unix_nano, else received_at
    time_unix_nano           BIGINT,
    observed_time_unix_nano  BIGINT,
    trace_id                 VARCHAR,
    span_id                  VARCHAR,
    flags                    BIGINT,
    severity_number          INTEGER,
    severity_text            VARCHAR,
    event_name               VARCHAR,
    body                     JSON,
    service_name             VARCHAR,
    service_namespace        VARCHAR,
    service_version          VARCHAR,
    deployment_environment   VARCHAR,
    scope_name               VARCHAR,
    scope_version            VARCHAR,
    schema_url               VARCHAR,
    resource_attributes      JSON,
    scope_attributes         JSON,
    attributes               JSON,
    evidence                 JSON,
    dropped_attributes_count BIGINT,
    dialect                  VARCHAR,
    role                     VARCHAR,
    operation                VARCHAR,
    provider                 VARCHAR,
    request_model            VARCHAR,
    response_model           VARCHAR,
    model_region             VARCHAR,
    response_id              VARCHAR,
    finish_reasons           VARCHAR[],
    service_tier             VARCHAR,
    speed                    VARCHAR,
    batch                    BOOLEAN,
    error_type               VARCHAR,
    time_to_first_token_ms   DOUBLE,
    session_id               VARCHAR,
    user_id                  VARCHAR,
    agent_name               VARCHAR,
    agent_id                 VARCHAR,
    tool_name                VARCHAR,
    tool_call_id             VARCHAR,
    input_tokens             BIGINT,
    cache_read_tokens        BIGINT,
    cache_write_tokens       BIGINT,
    cache_write_5m_tokens    BIGINT,
    cache_write_30m_tokens   BIGINT,
    cache_write_1h_tokens    BIGINT,
    cache_write_12h_tokens   BIGINT,
    output_tokens            BIGINT,
    reasoning_tokens         BIGINT,
    audio_input_tokens       BIGINT,
    audio_output_tokens      BIGINT,
    image_input_tokens       BIGINT,
    token_semantics          VARCHAR,
    token_evidence           VARCHAR,
    reported_cost_usd        DECIMAL(38, 12),
    billing_account          VARCHAR,
    plan_tier                VARCHAR,
    notes                    VARCHAR[],
    source                   VARCHAR   NOT NULL,
    received_at              TIMESTAMP NOT NULL,
    load_id                  VARCHAR   NOT NULL
);

-- One row per data point that `keep` keeps; append-only; identity = (tenant, record_hash).
CREATE TABLE metric_points (
    tenant                   VARCHAR   NOT NULL,
    record_hash              VARCHAR   NOT NULL,
    time                     TIMESTAMP NOT NULL,
    time_unix_nano           BIGINT    NOT NULL,
    start_time_unix_nano     BIGINT,
    metric_name              VARCHAR   NOT NULL,
    description              VARCHAR,
    unit                     VARCHAR,
    metric_type              VARCHAR   NOT NULL, -- gauge, sum, histogram, exponential_histogram, summary
    temporality              VARCHAR,            -- delta, cumulative, unspecified; NULL for gauge and summary
    is_monotonic             BOOLEAN,
    flags                    BIGINT,
    value_int                BIGINT,
    value_double             DOUBLE,
    count                    BIGINT,
    sum                      DOUBLE,
    min                      DOUBLE,
    max                      DOUBLE,
    buckets                  JSON,               -- bucket_counts and explicit_bounds, or the exponential fields, or quantile_values
    exemplars                JSON,
    service_name             VARCHAR,
    service_namespace        VARCHAR,
    service_version          VARCHAR,
    deployment_environment   VARCHAR,
    scope_name               VARCHAR,
    scope_version            VARCHAR,
    schema_url               VARCHAR,
    resource_attributes      JSON,
    scope_attributes         JSON,
    metric_metadata          JSON,
    attributes               JSON,
    dialect                  VARCHAR,
    operation                VARCHAR,
    provider                 VARCHAR,
    request_model            VARCHAR,
    response_model           VARCHAR,
    token_type               VARCHAR,            -- gen_ai.token.type
    session_id               VARCHAR,
    user_id                  VARCHAR,
    agent_name               VARCHAR,
    billing_account          VARCHAR,
    plan_tier                VARCHAR,
    notes                    VARCHAR[],
    source                   VARCHAR   NOT NULL,
    received_at              TIMESTAMP NOT NULL,
    load_id                  VARCHAR   NOT NULL
);

-- Text that the content gate took, only for the classes that are switched on.
CREATE TABLE contents (
    tenant     VARCHAR   NOT NULL,
    trace_id   VARCHAR,
    span_id    VARCHAR,
    kind       VARCHAR   NOT NULL, -- prompts, completions, tool_inputs, tool_outputs
    key        VARCHAR   NOT NULL, -- the attribute, event or body it stood in
    content    VARCHAR   NOT NULL,
    start_time TIMESTAMP NOT NULL, -- of the span or log record
    load_id    VARCHAR   NOT NULL
);

-- One row per provider call made, failed ones too; derived, replaced per merge group.
-- Configured dimensions are added as VARCHAR columns at the end.
CREATE TABLE calls (
    call_id                  VARCHAR   NOT NULL,
    tenant                   VARCHAR   NOT NULL,
    trace_id                 VARCHAR,            -- of the record preferred; NULL where only a log reported it
    span_id                  VARCHAR,
    members                  JSON      NOT NULL, -- every record that reported the call: [{"signal":"span","trace_id","span_id"}, {"signal":"log","record_hash"}, …]
    signal                   VARCHAR   NOT NULL, -- span; log where only log records reported it
    start_time               TIMESTAMP NOT NULL,
    duration_ns              BIGINT,
    service_name             VARCHAR,
    deployment_environment   VARCHAR,
    dialect                  VARCHAR,
    role                     VARCHAR   NOT NULL, -- llm, embeddings
    operation                VARCHAR,
    provider                 VARCHAR,
    request_model            VARCHAR,
    response_model           VARCHAR,
    model_region             VARCHAR,
    response_id              VARCHAR,
    finish_reasons           VARCHAR[],
    service_tier             VARCHAR,
    speed                    VARCHAR,
    batch                    BOOLEAN,
    error_type               VARCHAR,
    time_to_first_token_ms   DOUBLE,
    session_id               VARCHAR,
    user_id                  VARCHAR,
    agent_name               VARCHAR,
    agent_id                 VARCHAR,
    tool_name                VARCHAR,
    tool_call_id             VARCHAR,
    input_tokens             BIGINT,
    cache_read_tokens        BIGINT,
    cache_write_tokens       BIGINT,
    cache_write_5m_tokens    BIGINT,
    cache_write_30m_tokens   BIGINT,
    cache_write_1h_tokens    BIGINT,
    cache_write_12h_tokens   BIGINT,
    output_tokens            BIGINT,
    reasoning_tokens         BIGINT,
    audio_input_tokens       BIGINT,
    audio_output_tokens      BIGINT,
    image_input_tokens       BIGINT,
    token_semantics          VARCHAR,
    token_evidence           VARCHAR,
    session_inherited        BOOLEAN   NOT NULL, -- session_id did not stand on the call's own records
    user_inherited           BOOLEAN   NOT NULL,
    agent_inherited          BOOLEAN   NOT NULL,
    tool_inherited           BOOLEAN   NOT NULL,
    possible_duplicate       BOOLEAN   NOT NULL,
    billing_account          VARCHAR,
    plan_tier                VARCHAR   NOT NULL,
    pricing_mode             VARCHAR   NOT NULL, -- api, subscription, local, unknown
    cost_usd                 DECIMAL(38, 12),    -- list price in every mode; NULL where tokens, model or price are missing
    cost_low_usd             DECIMAL(38, 12),
    cost_high_usd            DECIMAL(38, 12),
    cost_input_usd           DECIMAL(38, 12),
    cost_output_usd          DECIMAL(38, 12),
    cost_cache_read_usd      DECIMAL(38, 12),
    cost_cache_write_usd     DECIMAL(38, 12),
    cost_reasoning_usd       DECIMAL(38, 12),
    cost_audio_usd           DECIMAL(38, 12),
    cost_request_usd         DECIMAL(38, 12),
    reported_cost_usd        DECIMAL(38, 12),
    price_id                 VARCHAR,            -- -> prices.price_id
    cost_note                VARCHAR,            -- why cost_usd is NULL or bracketed; closed vocabulary
    status_code              VARCHAR   NOT NULL, -- UNSET, OK, ERROR: ERROR = a failed call
    notes                    VARCHAR[]
);

-- Price snapshots, immutable: one row per price of one unit in one range of dates and one context tier.
CREATE TABLE prices (
    snapshot_id    VARCHAR         NOT NULL, -- hash of the snapshot's rows
    price_id       VARCHAR         NOT NULL, -- what calls.price_id names: snapshot, provider, model and range of dates
    provider       VARCHAR         NOT NULL, -- as the source names it
    model          VARCHAR         NOT NULL, -- as the source names it; calls match it through the source's clauses
    variant        VARCHAR         NOT NULL, -- standard, batch, flex, priority, …
    valid_from     TIMESTAMP,                -- NULL = since ever
    valid_to       TIMESTAMP,                -- exclusive; NULL = until further notice
    time_from      TIME,                     -- time-of-day window in UTC; NULL = all day
    time_to        TIME,
    tier_start     BIGINT          NOT NULL, -- total input tokens strictly above which the price holds; 0 = base
    unit           VARCHAR         NOT NULL, -- input_mtok, cache_read_mtok, …, requests_kcount
    price_usd      DECIMAL(38, 12) NOT NULL, -- for one unit: a million tokens or a thousand requests
    source         VARCHAR         NOT NULL, -- genai-prices; file:<name>; config for what the configuration says
    source_version VARCHAR         NOT NULL,
    data_as_of     DATE,                     -- the newest date that the source's data carries
    model_match    VARCHAR                   -- which ids mean the model: a | b* | /regular expression/
);

-- Price lists as they became active, append-only: calls are priced by the one of the newest activated_at.
CREATE TABLE price_snapshots (
    snapshot_id    VARCHAR   NOT NULL, -- -> prices.snapshot_id
    activated_at   TIMESTAMP NOT NULL,
    source         VARCHAR   NOT NULL, -- genai-prices; file:<name>
    source_version VARCHAR   NOT NULL, -- the package's version; of a file, a hash of its bytes
    data_as_of     DATE,               -- the newest date that the source's data carries
    document       VARCHAR   NOT NULL  -- the whole list as JSON, with the rules that tell which model an id means
);

-- One row per committed load; carries the spool position, in the same transaction as the rows.
CREATE TABLE loads (
    load_id               VARCHAR   NOT NULL,
    loaded_at             TIMESTAMP NOT NULL,
    source                VARCHAR   NOT NULL, -- otlp, backfill:<file name>
    spool_segment         BIGINT,             -- NULL for a backfill
    spool_offset          BIGINT,             -- the segment is loaded up to here
    requests              BIGINT    NOT NULL,
    bytes                 BIGINT    NOT NULL,
    first_received_at     TIMESTAMP,
    last_received_at      TIMESTAMP,
    spans_read            BIGINT    NOT NULL,
    spans_stored          BIGINT    NOT NULL,
    spans_duplicate       BIGINT    NOT NULL,
    spans_not_kept        BIGINT    NOT NULL,
    spans_rejected        BIGINT    NOT NULL,
    log_records_read      BIGINT    NOT NULL,
    log_records_stored    BIGINT    NOT NULL,
    log_records_duplicate BIGINT    NOT NULL,
    log_records_not_kept  BIGINT    NOT NULL,
    log_records_rejected  BIGINT    NOT NULL,
    metric_points_read      BIGINT  NOT NULL,
    metric_points_stored    BIGINT  NOT NULL,
    metric_points_duplicate BIGINT  NOT NULL,
    metric_points_not_kept  BIGINT  NOT NULL,
    metric_points_rejected  BIGINT  NOT NULL,
    calls_written         BIGINT    NOT NULL,
    duration_ms           DOUBLE    NOT NULL
);

-- One row per analyzer run.
CREATE TABLE runs (
    run_id       VARCHAR   NOT NULL,
    analyzer     VARCHAR   NOT NULL,
    trigger      VARCHAR   NOT NULL, -- schedule, catch-up, cli
    scheduled_at TIMESTAMP,          -- the cron slot; NULL by hand
    started_at   TIMESTAMP NOT NULL,
    finished_at  TIMESTAMP,
    window_start TIMESTAMP,
    window_end   TIMESTAMP,
    status       VARCHAR   NOT NULL, -- ok, failed, timeout, skipped
    error        VARCHAR,            -- of a skipped run: why
    settings     JSON,
    result       JSON
);

-- One row per finding of a run.
CREATE TABLE findings (
    run_id     VARCHAR NOT NULL,
    finding_id VARCHAR NOT NULL, -- stable across runs
    analyzer   VARCHAR NOT NULL,
    title      VARCHAR NOT NULL,
    finding    JSON    NOT NULL
);

-- What was alerted: a row when an alert is raised, which is before it is sent, and one for each channel that has it.
CREATE TABLE alerts (
    alert_id     VARCHAR   NOT NULL, -- what receivers know it by
    rule         VARCHAR   NOT NULL,
    event_key    VARCHAR   NOT NULL, -- the same for the same thing: what is not raised again too soon
    state        VARCHAR   NOT NULL, -- raised, resolved; of one of these on a channel: sent, given up
    recorded_at  TIMESTAMP NOT NULL,
    channel      VARCHAR,            -- NULL: raised, resolved
    channels     VARCHAR[],          -- of these: where it is to go
    window_start TIMESTAMP,          -- of these: the calls that it is about
    window_end   TIMESTAMP,
    alert        JSON                -- of these: what is sent
);

-- Versions that this lake has been brought to, oldest first.
CREATE TABLE schema_migrations (
    version    INTEGER   NOT NULL,
    applied_at TIMESTAMP NOT NULL
);
