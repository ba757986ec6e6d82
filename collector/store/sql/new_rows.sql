-- Which rows of the batch are not stored yet; the batch itself holds no key twice.
CREATE OR REPLACE TEMP TABLE new_{table}_rows AS
SELECT rowid AS new_row
FROM resolved_{table}
ANTI JOIN ({known}) USING ({key})
