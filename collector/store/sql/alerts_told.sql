-- The texts of alerts that were raised, and the calls that they are about; erased ones are left out.
SELECT alert_id, alert::VARCHAR AS alert, window_start, window_end
FROM lake.alerts
WHERE state = 'raised' AND alert IS NOT NULL AND list_contains($alert_ids, alert_id)
