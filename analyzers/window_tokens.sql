-- Tokens of all calls of the window, in and out.
SELECT sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0))
FROM calls
WHERE start_time >= $start AND start_time < $end
