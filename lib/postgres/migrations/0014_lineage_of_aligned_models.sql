-- What only models that were aligned to preferences come from. Null = not such a model; never empty.
alter table registry_versions
  add column reward_model_digest  text check (btrim(reward_model_digest) <> ''),
  add column safety_report_digest text check (btrim(safety_report_digest) <> '');
