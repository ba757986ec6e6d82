-- What was alerted and where it went; schema.sql says what the columns hold.
CREATE TABLE alerts (
    alert_id     VARCHAR   NOT NULL,
    rule         VARCHAR   NOT NULL,
    event_key    VARCHAR   NOT NULL,
    state        VARCHAR   NOT NULL,
    recorded_at  TIMESTAMP NOT NULL,
    channel      VARCHAR,
    channels     VARCHAR[],
    window_start TIMESTAMP,
    window_end   TIMESTAMP,
    alert        JSON
);
