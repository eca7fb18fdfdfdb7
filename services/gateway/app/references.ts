import { type Static, Type } from '#typebox';
import { Value } from '#typebox/value';
import type { ResolvedDataset } from '#lib/contracts/jobs.ts';
import type { ReleaseSettings } from '#lib/contracts/release.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ModelVersion } from '#lib/model-registry/port.ts';
import { MANIFEST_NAME, readManifest } from '#lib/object-store/manifest.ts';
import { mayApprove } from '../domain/access.ts';
import type {
  ArtifactsFinding,
  Champion,
  DatasetFinding,
  Findings,
  ModelFinding,
  NamedArtifacts,
  References,
  ReleasePeople,
} from '../domain/findings.ts';
import type { DatasetVersion, Gateway, SubmissionSnapshot } from './ports.ts';

/**
 * Looks up what a spec refers to, within the job's project. Versions are pinned here: an alias that moves later changes nothing for this job.
 * Throws what passes by itself (registry or store away), never because something is missing.
 */
export async function findReferences(
  lookups: Lookups,
  references: References,
  known: {
    readonly project: string;
    readonly snapshot: SubmissionSnapshot;
    readonly submittedBy: string;
    readonly releasedBy: string | null;
  },
): Promise<Findings> {
  const { project, snapshot, submittedBy, releasedBy } = known;
  const { datasets, models = {}, artifacts = {}, champion, release } = references;
  const roles = Object.keys(datasets);
  return {
    datasets: Object.fromEntries(roles.map((role, at) => [role, datasetFinding(snapshot.datasets[at])])),
    models: await each(models, async ({ reference }) => modelFinding(await lookups.version(project, reference))),
    artifacts: await each(artifacts, (named) => lookups.artifacts(project, named)),
    champion: champion === undefined ? null : await findChampion(lookups, project, champion),
    lastRetrainAtMs: snapshot.lastRetrainAtMs,
    submittedBy,
    people: release?.promote === true ? await lookups.people(project, release, releasedBy) : null,
  };
}

/** Looks at each thing once, however many jobs of a batch name it. */
export class Lookups {
  readonly #gateway: Pick<Gateway, 'registry' | 'promotions' | 'objects' | 'keys'>;
  readonly #versions = new Map<string, Promise<ModelVersion | null>>();

  constructor(gateway: Pick<Gateway, 'registry' | 'promotions' | 'objects' | 'keys'>) {
    this.#gateway = gateway;
  }

  /** `reference` is `name@alias` or `name/version`. */
  version(project: string, reference: string): Promise<ModelVersion | null> {
    const key = `${project} ${reference}`;
    const known = this.#versions.get(key) ?? this.#find(project, reference);
    this.#versions.set(key, known);
    return known;
  }

  #find(project: string, reference: string): Promise<ModelVersion | null> {
    const { registry } = this.#gateway;
    const [name = '', alias] = reference.split('@');
    if (alias !== undefined) return this.#resolve(project, name, alias);
    const slash = reference.lastIndexOf('/');
    return registry.getVersion(project, reference.slice(0, slash), Number(reference.slice(slash + 1)));
  }

  /** Stages as the promotion ledger has them: the registry follows it, and may be behind. */
  async #resolve(project: string, name: string, alias: string): Promise<ModelVersion | null> {
    const { registry, promotions } = this.#gateway;
    const [stages, shown] = await Promise.all([
      promotions.stages(project, name),
      registry.resolve(project, name, alias),
    ]);
    const withStage = (version: ModelVersion): ModelVersion => ({
      ...version,
      stage: stages.get(version.version) ?? version.stage,
    });
    if (alias === 'latest') return shown === null ? null : withStage(shown);
    const inLedger = Math.max(0, ...[...stages].flatMap(([version, stage]) => (stage === alias ? [version] : [])));
    const known = shown !== null && withStage(shown).stage === alias ? shown : null;
    if (inLedger === 0 || (known !== null && known.version > inLedger)) return known;
    const version = known?.version === inLedger ? known : await registry.getVersion(project, name, inLedger);
    return version === null ? null : withStage(version);
  }

  /** Nobody is looked up where any approver may answer. A revoked key approves nothing; what it once wrote as a policy stays its word. */
  async people(project: string, { approval }: ReleaseSettings, releasedBy: string | null): Promise<ReleasePeople> {
    const named = approval?.approvers ?? [];
    const ids = approval === undefined && releasedBy !== null ? [releasedBy] : named;
    const known = ids.length === 0 ? [] : await this.#gateway.keys.known(project, ids);
    return {
      role: known.find(({ id }) => id === releasedBy)?.role ?? null,
      approvers: new Set(known.filter(({ role, revoked }) => !revoked && mayApprove(role)).map(({ id }) => id)),
    };
  }

  /** Artifacts are a project's own: those of another one are not there, whatever the digest. */
  async artifacts(project: string, { manifestKey, digest }: NamedArtifacts): Promise<ArtifactsFinding> {
    if (!manifestKey.startsWith(`artifacts/${project}/`) || !manifestKey.endsWith(`/${MANIFEST_NAME}`))
      return { refusal: 'there are no such artifacts in the project' };
    try {
      const { files } = await readManifest(this.#gateway.objects, manifestKey, { expectedDigest: digest });
      const adapter = files.some(({ path }) => path === ADAPTER_FILE);
      return { refusal: adapter ? 'is an adapter without its base: name its registered version' : null };
    } catch (error) {
      // Another digest counts as a damaged transfer elsewhere; here somebody wrote it.
      if (!(error instanceof TrainyardError) || (error.retryable && error.code !== 'ChecksumMismatch')) throw error;
      return { refusal: `cannot be used: ${error.message}` };
    }
  }
}

/** What a PEFT adapter has and a model has not. */
const ADAPTER_FILE = 'adapter_config.json';

async function each<T, R>(
  named: Readonly<Record<string, T>>,
  find: (one: T) => Promise<R>,
): Promise<Record<string, R>> {
  return Object.fromEntries(
    await Promise.all(Object.entries(named).map(async ([role, one]) => [role, await find(one)] as const)),
  );
}

async function findChampion(
  lookups: Lookups,
  project: string,
  { model, orNewest }: NonNullable<References['champion']>,
): Promise<Champion | null> {
  const inProduction = await lookups.version(project, `${model}@prod`);
  const version = inProduction ?? (orNewest ? await lookups.version(project, `${model}@latest`) : null);
  return version === null ? null : { version: version.version, stage: version.stage, finding: modelFinding(version) };
}

const resolvedDataset = (row: DatasetVersion): ResolvedDataset => ({
  name: row.name,
  version: row.version,
  format: row.format,
  key: row.objectKey,
  sha256: row.sha256,
  bytes: row.bytes,
});

function datasetFinding(found: SubmissionSnapshot['datasets'][number] | undefined): DatasetFinding {
  const version = found?.version ?? null;
  if (version !== null) return { found: true, dataset: resolvedDataset(version) };
  return { found: false, missing: found?.known === true ? 'version' : 'name' };
}

const ArchitectureTag = Type.Object({
  layers: Type.Integer({ minimum: 1 }),
  heads: Type.Integer({ minimum: 1 }),
  embeddingSize: Type.Integer({ minimum: 1 }),
  contextLength: Type.Integer({ minimum: 1 }),
  vocabularySize: Type.Integer({ minimum: 1 }),
});

/** What `register_model` recorded about a version, in its tags. */
function modelFinding(version: ModelVersion | null): ModelFinding {
  if (version === null) return { kind: 'absent' };
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
