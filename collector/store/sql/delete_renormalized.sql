DELETE FROM lake.{table}
WHERE {within}
  AND ({key}) IN (SELECT ({key}) FROM renormalized)
