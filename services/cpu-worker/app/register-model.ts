import { createHash } from 'node:crypto';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { readManifest } from '#lib/object-store/manifest.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { whenRegistryServes } from '#lib/worker/registry-wait.ts';
import type { StoredFolder } from '#lib/worker/workspace.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { trainingDataTags } from '../domain/training-data-tags.ts';

type Input = ActivityInput<'register_model'>;

/** Step 11 of the flow: a model version in stage `dev` with its whole lineage. The job is the dedupe key: however often it runs, one version. */
export async function registerModel(
  platform: WorkerPlatform,
  { input, epoch, signal }: ActivityContext<Input>,
): Promise<ActivityOutput<'register_model'>> {
  const { jobId, project, name, dataset, artifacts, report } = input;
  const manifest = await readManifest(platform.store, artifacts.manifestKey, { expectedDigest: artifacts.digest });
  if (manifest.createdBy.jobId !== jobId)
    throw new TrainyardError('ManifestInvalid', `the artifacts were written by job ${manifest.createdBy.jobId}`);
  const created = {
    project,
    name,
    sourceKey: jobId,
    manifestKey: artifacts.manifestKey,
    lineage: {
      jobId,
      runId: input.runId,
      datasetName: dataset.name,
      datasetVersion: String(dataset.version),
      datasetDigest: dataset.sha256,
      configDigest: input.configDigest,
      codeCommit: input.codeCommit,
      baseModelDigest: baseDigest(input.base),
      evaluationReportDigest: report.digest,
      manifestDigest: artifacts.digest,
    },
    tags: await tags(platform, input),
  };
  const version = await whenRegistryServes(platform, signal, (registry) => registry.createVersion(created));
  platform.log.info({ jobId, name, version: version.version, epoch }, 'model version registered');
  return { name, version: version.version, stage: version.stage, lineage: { ...version.lineage } };
}

/** What identifies the start: the manifest of the base's weights (with its adapter's), or the config of a random start. */
function baseDigest(base: Input['base']): string {
  if (base.kind === 'config') return sha256(canonicalJson(base.config));
  const { weights, adapter } = base.model;
  return adapter === undefined ? weights.digest : sha256(`${weights.digest}\n${adapter.digest}`);
}

/** What the gateway needs to check jobs that start from this version. */
async function tags(platform: WorkerPlatform, input: Input): Promise<Record<string, string>> {
  const { technique, base, artifacts, vocabularySize } = input;
  const common = { technique, 'trainyard.job': input.jobId, ...trainingDataTags(input) };
  const isAdapter = technique !== 'full';
  const weights = isAdapter && base.kind === 'model' ? base.model.weights : artifacts;
  const architecture = JSON.stringify(await architectureOf(platform, weights, vocabularySize));
  if (!isAdapter || base.kind === 'config') return { ...common, architecture };
  return {
    ...common,
    architecture,
    adapterOf: `${base.model.name}/${base.model.version}`,
    adapterOfManifestKey: base.model.weights.manifestKey,
    adapterOfDigest: base.model.weights.digest,
  };
}

async function architectureOf(
  platform: WorkerPlatform,
  model: StoredFolder,
  vocabularySize: number,
): Promise<Record<string, number>> {
  const manifest = await readManifest(platform.store, model.manifestKey, { expectedDigest: model.digest });
  const file = manifest.files.find(({ path }) => path === 'config.json');
  if (file === undefined) throw new TrainyardError('ManifestInvalid', `${model.manifestKey} has no config.json`);
  const config = JSON.parse((await platform.store.get(file.key)).toString('utf8')) as Record<string, number>;
  return {
    layers: config['n_layer'] ?? 0,
    heads: config['n_head'] ?? 0,
    embeddingSize: config['n_embd'] ?? 0,
    contextLength: config['n_positions'] ?? 0,
    vocabularySize,
  };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
