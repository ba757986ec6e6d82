INSERT INTO lake.{table} BY NAME
SELECT *, '{load_id}' AS load_id
FROM new_{table}
ORDER BY {time}
