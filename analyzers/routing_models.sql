-- Every call of `routing_modes` as it would have gone to the model that is the $place-th of its router by calls.
WITH models AS (
    SELECT
        number,
        model,
        max({'provider': provider, 'response_model': response_model, 'request_model': request_model}) AS name,
        row_number() OVER (PARTITION BY number ORDER BY count(*) DESC, sum(cost_usd) DESC, model) AS place
    FROM routing_modes
    GROUP BY number, model
)
SELECT
    modes.*
    REPLACE (
        models.name.provider AS provider,
        models.name.response_model AS response_model,
        models.name.request_model AS request_model,
        models.model AS model
    )
FROM routing_modes AS modes
JOIN models ON models.number = modes.number AND models.place = $place
