-- What all loads together brought in, and what they did not take in.
SELECT
    count(*) AS loads,
    max(last_received_at) AS last_received_at,
    coalesce(sum(spans_not_kept), 0)::BIGINT AS spans_not_kept,
    coalesce(sum(log_records_not_kept), 0)::BIGINT AS log_records_not_kept,
    coalesce(sum(metric_points_not_kept), 0)::BIGINT AS metric_points_not_kept,
    coalesce(sum(spans_rejected), 0)::BIGINT AS spans_rejected,
    coalesce(sum(log_records_rejected), 0)::BIGINT AS log_records_rejected,
    coalesce(sum(metric_points_rejected), 0)::BIGINT AS metric_points_rejected
FROM loads
