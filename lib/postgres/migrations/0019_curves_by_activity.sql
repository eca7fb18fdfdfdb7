-- Curves of each activity on its own: reward model and alignment of one rlhf job both report train.loss, and an epoch counts within its activity only.
-- What was stored before is taken for training, of which nearly all of it is.
alter table job_metrics add column activity text not null default 'run_training';
alter table job_metrics drop constraint job_metrics_pkey, add primary key (job_id, name, activity, step);

create function orchestrator_save_progress(
  p_workflow text[], p_activity text[], p_epoch int[], p_progress jsonb[],
  m_job text[], m_activity text[], m_name text[], m_step int[], m_value double precision[], m_epoch int[]) returns void
language plpgsql set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
begin
  update activities a set progress = p.progress
  from unnest(p_workflow, p_activity, p_epoch, p_progress) as p(workflow_id, activity_id, epoch, progress)
  where a.workflow_id = p.workflow_id and a.activity_id = p.activity_id and a.epoch = p.epoch;
  insert into job_metrics as m (job_id, activity, name, step, value, epoch)
  select * from unnest(m_job, m_activity, m_name, m_step, m_value, m_epoch)
  on conflict (job_id, name, activity, step) do update set value = excluded.value, epoch = excluded.epoch where excluded.epoch >= m.epoch;
end $$;

-- For orchestrators of the release before, which run on while this one comes.
create or replace function orchestrator_save_progress(
  p_workflow text[], p_activity text[], p_epoch int[], p_progress jsonb[],
  m_job text[], m_name text[], m_step int[], m_value double precision[], m_epoch int[]) returns void
language sql as $$
  select orchestrator_save_progress(p_workflow, p_activity, p_epoch, p_progress,
    m_job, array(select 'run_training' from unnest(m_job)), m_name, m_step, m_value, m_epoch);
$$;
