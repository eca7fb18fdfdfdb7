import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { FineTuneSpec, ResolvedDataset } from '#lib/contracts/jobs.ts';
import type { ModelRegistry, ModelVersion } from '#lib/model-registry/port.ts';
import type { BaseFinding, DatasetFinding } from '../domain/fine-tune-rules.ts';
import type { DatasetVersion, SubmissionSnapshot } from './ports.ts';

const ArchitectureTag = Type.Object({
  layers: Type.Integer({ minimum: 1 }),
  heads: Type.Integer({ minimum: 1 }),
  embeddingSize: Type.Integer({ minimum: 1 }),
  contextLength: Type.Integer({ minimum: 1 }),
  vocabularySize: Type.Integer({ minimum: 1 }),
});

const resolvedDataset = (row: DatasetVersion): ResolvedDataset => ({
  name: row.name,
  version: row.version,
  format: row.format,
  key: row.objectKey,
  sha256: row.sha256,
  bytes: row.bytes,
});

export function datasetFinding({ dataset, datasetKnown }: SubmissionSnapshot): DatasetFinding {
  if (dataset !== null) return { found: true, dataset: resolvedDataset(dataset) };
  return { found: false, missing: datasetKnown ? 'version' : 'name' };
}

/** Looks `base` up in the project's registry. The version is pinned here: an alias that moves later changes nothing for this job. */
export async function findBase(
  registry: ModelRegistry,
  project: string,
  base: FineTuneSpec['base'],
): Promise<BaseFinding> {
  if ('config' in base) return { kind: 'config' };
  const version = await findVersion(registry, project, base.model);
  return version === null ? { kind: 'absent' } : baseFinding(version);
}

function findVersion(registry: ModelRegistry, project: string, reference: string): Promise<ModelVersion | null> {
  const [name = '', alias] = reference.split('@');
  if (alias !== undefined) return registry.resolve(project, name, alias);
  const slash = reference.lastIndexOf('/');
  return registry.getVersion(project, reference.slice(0, slash), Number(reference.slice(slash + 1)));
}

/** What `register_model` recorded about a version, in its tags. */
function baseFinding(version: ModelVersion): BaseFinding {
  const { tags } = version;
  const own = { manifestKey: version.manifestKey, digest: version.lineage.manifestDigest };
  const architecture = architectureTag(tags['architecture']);
  const name = { name: version.name, version: version.version };
  if (tags['technique'] !== 'lora' && tags['technique'] !== 'qlora')
    return { kind: 'model', model: { ...name, weights: own }, architecture };
  const manifestKey = tags['adapterOfManifestKey'];
  const digest = tags['adapterOfDigest'];
  if (manifestKey === undefined || digest === undefined)
    return {
      kind: 'unusable',
      reason: `${version.name}/${version.version} is an adapter without a record of its base`,
    };
  return { kind: 'model', model: { ...name, weights: { manifestKey, digest }, adapter: own }, architecture };
}

function architectureTag(text: string | undefined): Static<typeof ArchitectureTag> | null {
  if (text === undefined) return null;
  try {
    const value: unknown = JSON.parse(text);
    return Value.Check(ArchitectureTag, value) ? value : null;
  } catch {
    return null;
  }
}
