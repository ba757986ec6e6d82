-- Rows that come out different from what is stored, and the dialect that they had.
CREATE OR REPLACE TEMP TABLE renormalized AS
SELECT new.*, old.load_id, old.dialect AS dialect_before
FROM resolved_{table} AS new
JOIN stored_rows AS old USING ({key})
WHERE {differs}
