-- Rows of rates as they are joined: bounds that compare without a NULL, rates in another unit.
SELECT * REPLACE (
    coalesce(valid_from, TIMESTAMP '-infinity') AS valid_from,
    coalesce(valid_to, TIMESTAMP 'infinity') AS valid_to,
    coalesce(time_from, TIME '00:00:00') AS time_from,
    coalesce(time_to, TIME '24:00:00') AS time_to,
    {rates}
)
FROM new_rates
