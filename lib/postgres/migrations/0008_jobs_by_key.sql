-- Looked up by idempotency key first: with the project first, and before the table was ever analysed, a plan reads all jobs of the project by
-- jobs_by_project instead (measured: 370 ms for 500 look-ups among 4,000 jobs, 6 ms by this index).
alter table jobs drop constraint jobs_project_idempotency_key_key;
create unique index jobs_by_key on jobs (idempotency_key, project);
