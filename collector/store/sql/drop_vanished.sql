-- What another process has deleted since it was read stays deleted.
DELETE FROM renormalized
WHERE ({key}) NOT IN (SELECT ({key}) FROM lake.{table} WHERE {within})
