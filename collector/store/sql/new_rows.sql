-- Which rows of the batch are not stored yet, by their number; the batch itself holds no key twice.
SELECT row
FROM (SELECT {key}, row_number() OVER () - 1 AS row FROM batch)
ANTI JOIN (SELECT {key} FROM stored {or_seen}) USING ({key})
ORDER BY row
