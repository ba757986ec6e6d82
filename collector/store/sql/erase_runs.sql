-- Runs that were worked out from what is erased, or that name the subject.
CREATE OR REPLACE TEMP TABLE erase_runs AS
SELECT run_id
FROM lake.runs
WHERE result IS NOT NULL AND ({overlaps})
   OR {mentioned}
   OR run_id IN (SELECT run_id FROM lake.findings WHERE {in_finding})
