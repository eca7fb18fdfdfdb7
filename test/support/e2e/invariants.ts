import { expect } from 'vitest';
import { MANIFEST_NAME } from '#lib/object-store/manifest.ts';
import { eventually } from '../eventually.ts';
import type { E2ePlatform } from './platform.ts';
import type { Job, RestClient } from './rest-client.ts';

type WithStore = Pick<E2ePlatform, 'store'>;

/** Manifests of a job's artifacts in the object store, whatever attempt wrote them. */
async function artifactManifests(platform: WithStore, client: RestClient, job: Job): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of platform.store.list(`artifacts/${client.project}/${job.id}/`))
    if (key.endsWith(`/${MANIFEST_NAME}`)) keys.push(key);
  return keys;
}

/**
 * What holds for a completed job however often its processes died: one version, one set of artifacts, an answer to the manifest that
 * is in the store, and lane seconds that account for the whole time from start to end.
 */
export async function expectCompletedOnce(
  platform: WithStore,
  client: RestClient,
  job: Job,
  model: string,
): Promise<void> {
  expect(job.status).toBe('COMPLETED');
  const versions = (await client.versions(model)).filter(({ lineage }) => lineage['jobId'] === job.id);
  expect(versions).toHaveLength(1);
  const artifacts = await client.artifacts(job.id);
  expect(await artifactManifests(platform, client, job)).toEqual([artifacts.manifestKey]);
  expect(versions[0]?.manifestKey).toBe(artifacts.manifestKey);
  const training = (await client.activities(job.id)).find(({ name }) => name === 'run_training');
  expect(artifacts.epoch).toBe(training?.epoch);
  await expectTimeAddsUp(client, job);
}

async function expectTimeAddsUp(client: RestClient, job: Job): Promise<void> {
  const activities = await client.activities(job.id);
  expect(activities.map(({ state }) => state)).toEqual(activities.map(() => 'done'));
  const sum = (of: 'useful' | 'lost' | 'waiting'): number =>
    activities.reduce((total, { laneSeconds }) => total + laneSeconds[of], 0);
  expect(job.laneSeconds.useful).toBeCloseTo(sum('useful'), 3);
  expect(job.laneSeconds.lost).toBeCloseTo(sum('lost'), 3);
  expect(job.laneSeconds.waiting).toBeCloseTo(sum('waiting'), 3);
  // One step follows the other without a gap, so every millisecond between start and end is useful, lost or waiting.
  const events = (await client.events(job.id)).filter(({ type }) => type !== 'LateMessageIgnored');
  const elapsedMs = Date.parse(events.at(-1)?.at ?? '') - Date.parse(events[0]?.at ?? '');
  const bookedMs = (sum('useful') + sum('lost') + sum('waiting')) * 1_000;
  expect(Math.abs(elapsedMs - bookedMs)).toBeLessThan(50);
}

/** Nothing of the project is reserved or on a lane any more. */
export async function expectNothingLeft(client: RestClient): Promise<void> {
  expect((await client.budget()).gpuSecondsReserved).toBe(0);
  await eventually(async () => {
    const lanes = await client.lanes();
    expect(lanes.map(({ running, placed }) => running + placed)).toEqual(lanes.map(() => 0));
  });
}
