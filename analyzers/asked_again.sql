-- What calls asked (`prompts`, from prompts.py) that asked the same as others.
FROM prompts
WHERE hash IN (SELECT hash FROM prompts GROUP BY hash HAVING count(*) > 1)
