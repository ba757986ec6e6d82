-- Where in their files the calls of a step stand that are not deleted.
SELECT filename AS file, file_row_number AS position, rowid AS node
FROM lake.calls
WHERE {within} AND filename IN ({files})
