-- What is decided about each call, in the order of call_candidates (by now one row per call): its name, and whose it is.
SELECT {columns}
FROM call_candidates
