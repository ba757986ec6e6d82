-- Stored calls with what they are priced by, and what they cost so far (stored_*).
SELECT
    call.node,
    call."row",
    coalesce(call.response_model, call.request_model) AS named_model,
    {priced_by},
    {stored}
FROM read_calls AS call
{stand_ins}
