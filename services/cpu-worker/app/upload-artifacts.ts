import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { MetricPoint } from '#lib/model-registry/port.ts';
import { uploadFolder } from '#lib/object-store/manifest.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { whenRegistryServes } from '#lib/worker/registry-wait.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';

type Context = ActivityContext<ActivityInput<'upload_artifacts'>>;

/** Points of a curve sent to the registry at once; MLflow's limit. */
const METRICS_PER_CALL = 1_000;

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
  const points = await curves(dirname(folder));
  for (let at = 0; at < points.length; at += METRICS_PER_CALL)
    await whenRegistryServes(platform, context.signal, (registry) =>
      registry.logMetrics(project, runId, points.slice(at, at + METRICS_PER_CALL)),
    );
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
  const points = new Map<string, MetricPoint>();
  for (const file of files) {
    const lines = (await readFile(join(folder, file), 'utf8')).split('\n');
    for (const line of lines) {
      const point = parsePoint(line);
      if (point !== null) points.set(`${point.name}\u0000${point.step}`, point);
    }
  }
  return [...points.values()];
}

/** Null for an empty line and for one that a killed worker left half written. */
function parsePoint(line: string): MetricPoint | null {
  try {
    const point = JSON.parse(line) as MetricPoint;
    return typeof point.name === 'string' && Number.isInteger(point.step) && Number.isFinite(point.value)
      ? point
      : null;
  } catch {
    return null;
  }
}
