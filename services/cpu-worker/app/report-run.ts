import { Value } from '#typebox/value';
import { TRAINING_RUN_FILES, TrainingRun } from '#lib/contracts/training-run.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { MetricPoint, RunRecord } from '#lib/model-registry/port.ts';
import { readManifest } from '#lib/object-store/manifest.ts';
import { whenRegistryServes } from '#lib/worker/registry-wait.ts';
import type { StoredFolder } from '#lib/worker/workspace.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { logCurve, pointsOfCurves } from './training-curves.ts';

/**
 * Tells the model registry about a training that stored its own result: parameters, addresses, the whole curve and the final metrics. What it
 * says is read from the folder, which a digest pins. Answers the run. Idempotent. `ManifestInvalid` when the folder is not of this job.
 */
export async function reportRun(
  platform: WorkerPlatform,
  { project, jobId, artifacts }: { readonly project: string; readonly jobId: string; readonly artifacts: StoredFolder },
  more: Pick<RunRecord, 'params' | 'tags'>,
  signal: AbortSignal,
): Promise<TrainingRun> {
  const { files } = await readManifest(platform.store, artifacts.manifestKey, { expectedDigest: artifacts.digest });
  const read = async (path: string): Promise<string> => {
    const file = files.find((candidate) => candidate.path === path);
    if (file === undefined) throw new TrainyardError('ManifestInvalid', `${artifacts.manifestKey} has no file ${path}`);
    return (await platform.store.get(file.key)).toString('utf8');
  };
  const run: unknown = JSON.parse(await read(TRAINING_RUN_FILES.run));
  if (!Value.Check(TrainingRun, run) || run.jobId !== jobId)
    throw new TrainyardError('ManifestInvalid', `${artifacts.manifestKey} holds no run of job ${jobId}`);
  const { runId, params, epoch, metrics, steps } = run;
  const record = {
    runId,
    project,
    jobId,
    params: { ...params, ...more.params },
    tags: { 'trainyard.job': jobId, 'trainyard.trainingEpoch': String(epoch), ...more.tags },
    artifactUris: files.map(({ key }) => key),
  };
  await whenRegistryServes(platform, signal, (registry) => registry.upsertRun(record));
  const last = Object.entries(metrics).map(([name, value]): MetricPoint => ({ name, step: steps, value }));
  await logCurve(platform, { project, runId }, pointsOfCurves([await read(TRAINING_RUN_FILES.curve)], last), signal);
  return run;
}
