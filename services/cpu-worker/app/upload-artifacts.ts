import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { MetricPoint } from '#lib/model-registry/port.ts';
import { uploadFolder } from '#lib/object-store/manifest.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { whenRegistryServes } from '#lib/worker/registry-wait.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { logCurve, pointsOfCurves } from './training-curves.ts';

type Context = ActivityContext<ActivityInput<'upload_artifacts'>>;

/**
 * Step 9 of the flow: the trained files into the object store (manifest last), then parameters, curves and addresses into the model registry.
 * The key carries the epoch of the training attempt, not of this upload: run again, it finds everything there and sends nothing.
 */
export async function uploadArtifacts(
  platform: WorkerPlatform,
  context: Context,
): Promise<ActivityOutput<'upload_artifacts'>> {
  const { jobId, project, outputFolder, params } = context.input;
  const folder = join(platform.workspaceDir, outputFolder);
  const name = basename(outputFolder);
  const epoch = epochOf(name);
  await requireFolder(folder);
  const uploaded = await uploadFolder(platform.store, folder, `artifacts/${project}/${jobId}/${name}`, {
    createdBy: { jobId, activity: 'run_training', epoch },
    signal: context.signal,
    onProgress: ({ bytes, totalBytes }) => context.progress({ step: bytes, stepsTotal: totalBytes }),
  });
  const runId = `run-${jobId}`;
  const run = {
    runId,
    project,
    jobId,
    params,
    tags: { 'trainyard.job': jobId, 'trainyard.trainingEpoch': String(epoch) },
    artifactUris: uploaded.manifest.files.map((file) => file.key),
  };
  await whenRegistryServes(platform, context.signal, (registry) => registry.upsertRun(run));
  await logCurve(platform, { project, runId }, await curves(dirname(folder)), context.signal);
  return {
    artifacts: { manifestKey: uploaded.manifestKey, digest: uploaded.digest },
    runId,
    files: uploaded.manifest.files.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 })),
    uploadedFiles: uploaded.uploadedFiles,
    uploadedBytes: uploaded.uploadedBytes,
  };
}

const epochOf = (name: string): number => Number(/-e(\d+)$/.exec(name)?.[1] ?? 0);

async function requireFolder(folder: string): Promise<void> {
  try {
    await readdir(folder);
  } catch (cause) {
    throw new TrainyardError(
      'WorkspaceUnavailable',
      `the trained files are not in the workspace: ${basename(folder)}`,
      { cause },
    );
  }
}

/** The points of every attempt's curve file; where attempts overlap (a resume repeats steps) the later attempt's value counts. */
async function curves(folder: string): Promise<MetricPoint[]> {
  const files = (await readdir(folder))
    .filter((name) => name.endsWith('.metrics.jsonl'))
    .sort((a, b) => epochOf(a.replace('.metrics.jsonl', '')) - epochOf(b.replace('.metrics.jsonl', '')));
  return pointsOfCurves(await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8'))));
}
