-- Macros that depend on no table and no setting; macros.py makes the others.

-- What was sent about the account and the plan; the token's account goes before anything sent.
CREATE OR REPLACE TEMP MACRO sent_account(bound, own, resource) AS
    coalesce(nullif(trim(bound), ''), nullif(trim(own), ''), nullif(trim(resource), ''));
CREATE OR REPLACE TEMP MACRO sent_plan(own, resource) AS
    coalesce(nullif(lower(trim(own)), ''), nullif(lower(trim(resource)), ''));

-- Of a model id in lower case, where the model is served: the prefix of a Bedrock inference profile, the region in an
-- ARN, in LiteLLM's bedrock/<region>/… and azure/<region>/…, or the location in a path of Vertex AI.
CREATE OR REPLACE TEMP MACRO region_of(model) AS coalesce(
    nullif(regexp_extract(model, '(?:^|[/:])(us-gov|us|eu|apac|jp|au|ca|global)\.[a-z0-9]+\.', 1), ''),
    nullif(regexp_extract(model, '^arn:aws[a-z-]*:bedrock:([a-z0-9-]+):', 1), ''),
    nullif(regexp_extract(model, '(?:^|/)locations/([a-z0-9-]+)/', 1), ''),
    nullif(regexp_extract(model, '^(?:bedrock/|azure/)([a-z]{2}(?:-[a-z]+)+-\d+|us|eu|global)/', 1), '')
);

-- The ids that providers give to one answer: OpenAI's Responses and Chat Completions, Anthropic's messages. Some
-- frameworks send them as the conversation.
CREATE OR REPLACE TEMP MACRO is_response_id(id) AS
    regexp_matches(id, '^(?:resp_|chatcmpl-|msg_)[0-9A-Za-z_-]{16,}$');

-- A model id without the path and vendor before it and the date, version or "latest" behind it; NULL for names of no
-- known family (an alias, a deployment), which conflict with nothing.
CREATE OR REPLACE TEMP MACRO model_family(model) AS nullif(
    regexp_replace(
        regexp_extract(
            lower(model),
            '(?:^|[/.:~])((?:gpt|chatgpt|o[134]|codex|text-embedding|claude|gemini|gemma|llama|mistral|ministral'
            || '|magistral|codestral|devstral|mixtral|pixtral|command|embed|rerank|deepseek|grok|sonar|kimi|moonshot'
            || '|qwen|nova|titan)[^/]*)$',
            1
        ),
        '(?:[-@:](?:20\d{6}|20\d{2}-\d{2}-\d{2}|\d{2}-\d{2}|\d{3,4}|latest|preview|exp|v\d+(?::\d+)?))+$',
        ''
    ),
    ''
);
CREATE OR REPLACE TEMP MACRO models_agree(request_a, response_a, request_b, response_b) AS
    coalesce(model_family(request_a), model_family(response_a)) IS NULL
    OR coalesce(model_family(request_b), model_family(response_b)) IS NULL
    OR coalesce(model_family(request_a) IN (model_family(request_b), model_family(response_b)), FALSE)
    OR coalesce(model_family(response_a) IN (model_family(request_b), model_family(response_b)), FALSE);
