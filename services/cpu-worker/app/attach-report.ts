import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { whenRegistryServes } from '#lib/worker/registry-wait.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';

/**
 * Names an evaluation report in the tags of a registered version, by job: reports of several jobs stand side by side. The report must be stored
 * and have its digest (`ObjectNotFound`, `ChecksumMismatch`). Idempotent; waits for a registry that is away.
 */
export async function attachReport(
  platform: WorkerPlatform,
  { input: { jobId, model, report, markdown }, project, signal }: ActivityContext<ActivityInput<'attach_report'>>,
): Promise<ActivityOutput<'attach_report'>> {
  for (const { key, digest } of [report, markdown]) {
    const stored = await platform.store.head(key);
    if (stored === null) throw new TrainyardError('ObjectNotFound', `the report ${key} is not stored`);
    if (stored.sha256 !== digest)
      throw new TrainyardError('ChecksumMismatch', `the report ${key} has SHA-256 ${stored.sha256}, not ${digest}`);
  }
  const tags = {
    [`trainyard.report.${jobId}`]: report.digest,
    [`trainyard.reportKey.${jobId}`]: report.key,
    [`trainyard.reportMarkdownKey.${jobId}`]: markdown.key,
  };
  const { name, version } = model;
  const tagged = await whenRegistryServes(platform, signal, (registry) =>
    registry.setTags(project, name, version, tags),
  );
  platform.log.info({ jobId, name, version, report: report.digest }, 'evaluation report attached');
  return { name, version, tags: { ...tagged.tags } };
}
