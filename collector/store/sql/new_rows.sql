-- Which rows of the batch are not stored yet; of several with one key the first.
CREATE OR REPLACE TEMP TABLE new_{table}_rows AS
SELECT min(rowid) AS first_row
FROM resolved_{table}
ANTI JOIN stored_{table} USING ({key})
GROUP BY {key}
