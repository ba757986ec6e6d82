INSERT INTO lake.{table} BY NAME
SELECT *, '{load_id}' AS load_id
FROM new_rows
ORDER BY {time}
