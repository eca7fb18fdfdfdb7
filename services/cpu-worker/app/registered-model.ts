import { createHash } from 'node:crypto';
import type { ActivityInput } from '#lib/contracts/activities.ts';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { readManifest } from '#lib/object-store/manifest.ts';
import type { StoredFolder } from '#lib/worker/workspace.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';

/** A trained model that is about to become a version. */
type TrainedModel = Pick<
  ActivityInput<'register_model'>,
  'jobId' | 'technique' | 'base' | 'artifacts' | 'vocabularySize'
>;

/** `ManifestInvalid` when another job wrote the artifacts. */
export async function requireOwnArtifacts(
  platform: WorkerPlatform,
  { jobId, artifacts }: Pick<TrainedModel, 'jobId' | 'artifacts'>,
): Promise<void> {
  const manifest = await readManifest(platform.store, artifacts.manifestKey, { expectedDigest: artifacts.digest });
  if (manifest.createdBy.jobId !== jobId)
    throw new TrainyardError('ManifestInvalid', `the artifacts were written by job ${manifest.createdBy.jobId}`);
}

/** What identifies the start: the manifest of the base's weights (with its adapter's), or the config of a random start. */
export function baseDigest(base: TrainedModel['base']): string {
  if (base.kind === 'config') return sha256(canonicalJson(base.config));
  const { weights, adapter } = base.model;
  return adapter === undefined ? weights.digest : sha256(`${weights.digest}\n${adapter.digest}`);
}

/** What the gateway needs to check jobs that start from this version. */
export async function modelTags(platform: WorkerPlatform, model: TrainedModel): Promise<Record<string, string>> {
  const { technique, base, artifacts, vocabularySize } = model;
  const common = { technique, 'trainyard.job': model.jobId };
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
