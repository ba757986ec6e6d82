-- Price lists with the time from which they were active; schema.sql says what the columns hold.
CREATE TABLE price_snapshots (
    snapshot_id    VARCHAR   NOT NULL,
    activated_at   TIMESTAMP NOT NULL,
    source         VARCHAR   NOT NULL,
    source_version VARCHAR   NOT NULL,
    data_as_of     DATE,
    document       VARCHAR   NOT NULL
);

ALTER TABLE prices ADD COLUMN model_match VARCHAR;
