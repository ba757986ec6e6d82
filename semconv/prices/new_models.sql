-- The ways in which calls name their model that price_models does not hold yet.
SELECT DISTINCT provider, response_model, request_model
FROM {relation} AS call
WHERE (response_model IS NOT NULL OR request_model IS NOT NULL)
  AND NOT EXISTS (
      FROM price_models
      WHERE price_models.provider IS NOT DISTINCT FROM call.provider
        AND price_models.response_model IS NOT DISTINCT FROM call.response_model
        AND price_models.request_model IS NOT DISTINCT FROM call.request_model
  )
