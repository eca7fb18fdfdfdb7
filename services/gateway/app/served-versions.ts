import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ModelRegistry, ModelVersion } from '#lib/model-registry/port.ts';
import { mayPromote } from '#lib/promotion/safety-gate.ts';
import type { StoredModel } from '#lib/serving/inference-protocol.ts';

/** What of a version is needed to let it answer. */
export interface ServedVersion {
  readonly model: StoredModel;
  /** False: its safety gate did not let it pass. */
  readonly mayServe: boolean;
}

/** Versions remembered. What is remembered of one never changes: files are immutable, a gate's decision is final. */
const MAX_VERSIONS = 1_000;

/** Versions as the registry has them, from memory when they were asked for before: completions go on while the registry is down. */
export class ServedVersions {
  readonly #registry: Pick<ModelRegistry, 'getVersion' | 'resolve'>;
  readonly #known = new Map<string, ServedVersion>();

  constructor(registry: Pick<ModelRegistry, 'getVersion' | 'resolve'>) {
    this.#registry = registry;
  }

  /** Null when there is no such version. Throws `RegistryUnavailable`, and `InferenceFailed` for an adapter whose base is not recorded. */
  async version(project: string, model: string, version: number): Promise<ServedVersion | null> {
    const key = JSON.stringify([project, model, version]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = await this.#registry.getVersion(project, model, version);
    if (found === null) return null;
    const served = servedVersion(found);
    this.#known.set(key, served);
    if (this.#known.size > MAX_VERSIONS) this.#known.delete(this.#known.keys().next().value ?? key);
    return served;
  }

  async alias(project: string, model: string, alias: string): Promise<number | null> {
    return (await this.#registry.resolve(project, model, alias))?.version ?? null;
  }
}

const servedVersion = (version: ModelVersion): ServedVersion => ({
  model: storedModel(version),
  mayServe: mayPromote(version.tags, 'prod'),
});

/** What `register_model` recorded: an adapter's tags say what it lies on. */
function storedModel({ name, version, manifestKey, lineage, tags }: ModelVersion): StoredModel {
  const own = { manifestKey, digest: lineage.manifestDigest };
  if (tags['technique'] !== 'lora' && tags['technique'] !== 'qlora') return { weights: own };
  const base = { manifestKey: tags['adapterOfManifestKey'], digest: tags['adapterOfDigest'] };
  if (base.manifestKey === undefined || base.digest === undefined)
    throw new TrainyardError('InferenceFailed', `${name}/${version} is an adapter without a record of its base`);
  return { weights: { manifestKey: base.manifestKey, digest: base.digest }, adapter: own };
}
