import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CpuLane, cpuLane } from './cpu-lane-harness.ts';

let lane: CpuLane;
beforeEach(async () => {
  lane = await cpuLane();
});
afterEach(() => lane.close());

const sha256Of = (body: string): string => createHash('sha256').update(body).digest('hex');

describe('attach_report', () => {
  const stored = async (body: string, key: string) => {
    await lane.store.put(key, Buffer.from(body));
    return { key, digest: sha256Of(body) };
  };

  test('names the report in the tags of the version, by job, and keeps the tags that were there', async () => {
    lane.registry.add('tales', 3, { tags: { technique: 'full' } });
    lane.registry.away = 3;
    const report = await stored('{}', 'reports/demo/job-1/evaluate_models/a.json');
    const markdown = await stored('# A', 'reports/demo/job-1/evaluate_models/a.md');
    const given = { jobId: 'job-1', model: { name: 'tales', version: 3 }, report, markdown };
    const tags = {
      technique: 'full',
      'trainyard.report.job-1': report.digest,
      'trainyard.reportKey.job-1': report.key,
      'trainyard.reportMarkdownKey.job-1': markdown.key,
    };
    expect(await lane.run('attach_report', given)).toEqual({ name: 'tales', version: 3, tags });
    expect(await lane.run('attach_report', given)).toEqual({ name: 'tales', version: 3, tags });
    await lane.run('attach_report', { ...given, jobId: 'job-2' });
    expect(Object.keys(lane.registry.versions.get('demo/tales/3')?.tags ?? {})).toHaveLength(7);
  });

  test('attaches nothing that is not stored as it is said to be', async () => {
    lane.registry.add('tales', 3);
    const report = await stored('{}', 'reports/a.json');
    const given = { jobId: 'job-1', model: { name: 'tales', version: 3 }, report, markdown: report };
    const wrong = { ...report, digest: 'f'.repeat(64) };
    await expect(lane.run('attach_report', { ...given, report: wrong })).rejects.toMatchObject({
      code: 'ChecksumMismatch',
    });
    const gone = { ...report, key: 'reports/gone.json' };
    await expect(lane.run('attach_report', { ...given, markdown: gone })).rejects.toMatchObject({
      code: 'ObjectNotFound',
    });
    expect(lane.registry.versions.get('demo/tales/3')?.tags).toEqual({});
  });
});
