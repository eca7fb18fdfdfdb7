import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ModelRegistry, ModelVersion, NewModelVersion, RunRecord } from '#lib/model-registry/port.ts';
import type { Life } from './life.ts';
import type { Network, Server } from './sim-network.ts';

/** Versions and runs. One version per source key (MR-1), numbers without gaps (MR-2). */
export class RegistryTable {
  readonly versions: ModelVersion[] = [];
  readonly sourceKeys = new Map<string, ModelVersion>();
  readonly runs = new Map<string, RunRecord>();
  /** Called when a version comes into being. */
  onVersion: (version: ModelVersion, by: string) => void = () => undefined;

  create(version: NewModelVersion, by: string, atMs: number): ModelVersion {
    const key = `${version.project}/${version.name}/${version.sourceKey}`;
    const known = this.sourceKeys.get(key);
    if (known !== undefined) return known;
    const { project, name, manifestKey, lineage, tags } = version;
    const number = this.versions.filter((each) => each.project === project && each.name === name).length + 1;
    const createdAt = new Date(atMs).toISOString();
    const created: ModelVersion = {
      project,
      name,
      version: number,
      stage: 'dev',
      manifestKey,
      lineage,
      tags,
      createdAt,
    };
    this.versions.push(created);
    this.sourceKeys.set(key, created);
    this.onVersion(created, by);
    return created;
  }

  /** Null when there is no such version. */
  tag(project: string, name: string, version: number, tags: Readonly<Record<string, string>>): ModelVersion | null {
    const at = this.versions.findIndex((v) => v.project === project && v.name === name && v.version === version);
    const found = this.versions[at];
    if (found === undefined) return null;
    const tagged = { ...found, tags: { ...found.tags, ...tags } };
    this.versions[at] = tagged;
    return tagged;
  }
}

export const registryUnavailable = (): TrainyardError =>
  new TrainyardError('RegistryUnavailable', 'the model registry does not answer');

/** The model registry over the network: what activities and submissions use of it. */
export class SimModelRegistry implements ModelRegistry {
  readonly #network: Network;
  readonly #server: Server;
  readonly #table: RegistryTable;
  readonly #life: Life;

  constructor(world: { network: Network; server: Server; table: RegistryTable }, life: Life) {
    this.#network = world.network;
    this.#server = world.server;
    this.#table = world.table;
    this.#life = life;
  }

  upsertRun(run: RunRecord): Promise<void> {
    return this.#call('upsert run', () => void this.#table.runs.set(`${run.project}/${run.runId}`, run));
  }

  getRun(project: string, runId: string): Promise<RunRecord | null> {
    return this.#call('get run', () => this.#table.runs.get(`${project}/${runId}`) ?? null);
  }

  logMetrics(): Promise<void> {
    return this.#call('log metrics', () => undefined);
  }

  createVersion(version: NewModelVersion): Promise<ModelVersion> {
    return this.#call('create version', () => {
      for (const [member, value] of Object.entries(version.lineage))
        if (value.trim() === '') throw new TrainyardError('ValidationFailed', `lineage has no ${member}`);
      return this.#table.create(version, this.#life.name, this.#life.clock.now());
    });
  }

  getVersion(project: string, name: string, version: number): Promise<ModelVersion | null> {
    return this.#call('get version', () => this.#versions(project, name).find((v) => v.version === version) ?? null);
  }

  resolve(project: string, name: string, alias: string): Promise<ModelVersion | null> {
    return this.#call(
      'resolve',
      () =>
        this.#versions(project, name)
          .filter((version) => alias === 'latest' || version.stage === alias)
          .at(-1) ?? null,
    );
  }

  listVersions(project: string, name: string): Promise<ModelVersion[]> {
    return this.#call('list versions', () => this.#versions(project, name).reverse());
  }

  check(): Promise<void> {
    return this.#call('check', () => undefined);
  }

  metrics(): Promise<never[]> {
    throw new Error('curves are not simulated');
  }

  setStage(): Promise<ModelVersion> {
    throw new Error('stages are not simulated');
  }

  setTags(
    project: string,
    name: string,
    version: number,
    tags: Readonly<Record<string, string>>,
  ): Promise<ModelVersion> {
    return this.#call('set tags', () => {
      const tagged = this.#table.tag(project, name, version, tags);
      if (tagged === null) throw new TrainyardError('NotFound', `${name} has no version ${version}`);
      return tagged;
    });
  }

  listModels(): Promise<never[]> {
    throw new Error('listing models is not simulated');
  }

  #versions(project: string, name: string): ModelVersion[] {
    return this.#table.versions.filter((version) => version.project === project && version.name === name);
  }

  #call<T>(what: string, effect: () => T): Promise<T> {
    return this.#network.call(this.#life, this.#server, what, effect);
  }
}
