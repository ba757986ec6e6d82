-- Stored calls with what they are priced by, what they cost so far (stored_*), and where they stand.
CREATE OR REPLACE TEMP TABLE calls_to_price AS
SELECT
    rowid AS node,
    filename AS file,
    file_row_number AS position,
    coalesce(response_model, request_model) AS named_model,
    {priced_by},
    {stored}
FROM lake.calls
WHERE {within} AND filename IN ({files})
