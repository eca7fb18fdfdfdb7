import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import { expect } from 'vitest';
import type { ACTIVITIES, ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { LINEAGE } from '#lib/model-registry/model-registry-harness.ts';
import type { ModelRegistry, ModelVersion, NewModelVersion } from '#lib/model-registry/port.ts';
import { FileObjectStore } from '#lib/object-store/file-store.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { cpuActivities } from './activities.ts';

const PROJECT = 'demo';

/** The activities of this lane on a store in a folder of its own, each run through its schemas as a worker does. */
export interface CpuLane {
  readonly root: string;
  readonly store: FileObjectStore;
  readonly registry: VersionRegistry;
  run<A extends keyof typeof ACTIVITIES>(name: A, input: ActivityInput<A>): Promise<ActivityOutput<A>>;
  close(): Promise<void>;
}

export async function cpuLane(): Promise<CpuLane> {
  const root = await mkdtemp(join(tmpdir(), 'trainyard-cpu-lane-'));
  const store = new FileObjectStore({ root: join(root, 'objects') });
  const registry = new VersionRegistry();
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const platform: Omit<WorkerPlatform, 'log'> = {
    store,
    registry: registry as unknown as ModelRegistry,
    workspaceDir: join(root, 'workspace'),
    workspaceMarginBytes: 0,
    clock: { now: () => 0, wait: async () => undefined },
  };
  const activities = cpuActivities({ ...platform, log } as unknown as WorkerPlatform, {
    stages: () => Promise.resolve(new Map()),
  });
  return {
    root,
    store,
    registry,
    close: () => rm(root, { recursive: true, force: true }),
    run: async <A extends keyof typeof ACTIVITIES>(name: A, input: ActivityInput<A>) => {
      const activity = activities[name];
      if (activity?.input === undefined || activity.output === undefined) throw new Error(`no activity ${name}`);
      expect(Value.Errors(activity.input, input)).toEqual([]);
      const context: ActivityContext = {
        workflowId: 'w',
        activityId: name,
        epoch: 1,
        jobId: 'job-1',
        project: PROJECT,
        input,
        resume: null,
        signal: new AbortController().signal,
        progress: () => undefined,
        metrics: () => undefined,
        checkpointSaved: () => undefined,
      };
      const output = await activity.run(context);
      expect(Value.Errors(activity.output, output)).toEqual([]);
      return output as ActivityOutput<A>;
    },
  };
}

/** What these activities ask of a registry; the rules of one are the contract suite's. */
export class VersionRegistry {
  readonly versions = new Map<string, ModelVersion>();
  /** Calls that are answered with `RegistryUnavailable` first. */
  away = 0;

  add(name: string, version: number, { tags = {}, datasetDigest = 'd'.repeat(64) } = {}): void {
    const lineage = { ...LINEAGE, datasetDigest };
    const manifestKey = 'artifacts/m/manifest.json';
    const made = { project: 'demo', name, version, stage: 'prod', manifestKey, lineage, tags, createdAt: '' } as const;
    this.versions.set(`demo/${name}/${version}`, made);
  }

  async getVersion(project: string, name: string, version: number): Promise<ModelVersion | null> {
    if (this.away-- > 0) throw new TrainyardError('RegistryUnavailable', 'away');
    return this.versions.get(`${project}/${name}/${version}`) ?? null;
  }

  async createVersion({ name, tags, lineage, manifestKey, project }: NewModelVersion): Promise<ModelVersion> {
    const version = this.versions.size + 1;
    const made = { project, name, version, stage: 'dev', manifestKey, lineage, tags, createdAt: '' } as const;
    this.versions.set(`${project}/${name}/${version}`, made);
    return made;
  }

  async setTags(project: string, name: string, version: number, tags: Record<string, string>): Promise<ModelVersion> {
    const found = await this.getVersion(project, name, version);
    if (found === null) throw new TrainyardError('NotFound', 'no such version');
    const tagged = { ...found, tags: { ...found.tags, ...tags } };
    this.versions.set(`${project}/${name}/${version}`, tagged);
    return tagged;
  }
}
