LEFT JOIN stand_ins
  ON stand_ins.provider IS NOT DISTINCT FROM call.provider
 AND stand_ins.response_model IS NOT DISTINCT FROM call.response_model
 AND stand_ins.request_model IS NOT DISTINCT FROM call.request_model
