-- Alerts that name the subject, or that tell of calls of a time in which one of its records was.
CREATE OR REPLACE TEMP TABLE erase_alerts AS
SELECT alert_id, {mentioned} AS is_named
FROM lake.alerts
WHERE state = 'raised' AND (({overlaps}) AND alert IS NOT NULL OR {mentioned})
