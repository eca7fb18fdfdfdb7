import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { SAFETY_GATE_TAG } from '#lib/promotion/safety-gate.ts';
import { whenRegistryServes } from '#lib/worker/registry-wait.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { baseDigest, modelTags, requireOwnArtifacts } from './registered-model.ts';
import { reportRun } from './report-run.ts';

type Input = ActivityInput<'register_aligned_model'>;

/**
 * Registers an aligned model in stage `dev`: the runs of the training (and of the reward model) with their curves, then the version with its
 * whole lineage. Only ever asked for past the safety gate; anything but a pass is refused here as well, so that no bug on the way leads around
 * it. The job is the dedupe key: however often it runs, one version.
 */
export async function registerAlignedModel(
  platform: WorkerPlatform,
  { input, epoch, signal }: ActivityContext<Input>,
): Promise<ActivityOutput<'register_aligned_model'>> {
  requirePassedGate(input);
  const { jobId, project, name, preferences, artifacts, rewardModel, safetyReport, qualityReport } = input;
  await requireOwnArtifacts(platform, input);
  await requireReports(platform, input);
  const base = { kind: 'model', model: input.base } as const;
  // 1. What was trained, so that the version's run is known before the version is.
  const params = {
    base: `${input.base.name}/${input.base.version}`,
    preferences: `${preferences.name}/${preferences.version}`,
  };
  if (rewardModel !== null)
    await reportRun(platform, { project, jobId, artifacts: rewardModel }, { params, tags: {} }, signal);
  const run = await reportRun(platform, { project, jobId, artifacts }, { params, tags: {} }, signal);
  if (run.runId !== input.runId)
    throw new TrainyardError('ManifestInvalid', `the artifacts are of run ${run.runId}, not of ${input.runId}`);
  // 2. The version.
  const created = {
    project,
    name,
    sourceKey: jobId,
    manifestKey: artifacts.manifestKey,
    lineage: {
      jobId,
      runId: input.runId,
      datasetName: preferences.name,
      datasetVersion: String(preferences.version),
      datasetDigest: preferences.sha256,
      configDigest: input.configDigest,
      codeCommit: input.codeCommit,
      baseModelDigest: baseDigest(base),
      evaluationReportDigest: qualityReport.digest,
      manifestDigest: artifacts.digest,
      ...(rewardModel === null ? {} : { rewardModelDigest: rewardModel.digest }),
      safetyReportDigest: safetyReport.digest,
    },
    tags: {
      ...(await modelTags(platform, { ...input, base })),
      'trainyard.method': run.method,
      [SAFETY_GATE_TAG]: 'passed',
      'trainyard.report.safety': safetyReport.digest,
      'trainyard.report.quality': qualityReport.digest,
    },
  };
  const version = await whenRegistryServes(platform, signal, (registry) => registry.createVersion(created));
  platform.log.info({ jobId, name, version: version.version, epoch }, 'aligned model version registered');
  return { name, version: version.version, stage: version.stage, lineage: { ...version.lineage } };
}

/** The schema says so too; a gate is worth two locks. */
function requirePassedGate({ jobId, safetyPassed }: { readonly jobId: string; readonly safetyPassed: unknown }): void {
  if (safetyPassed !== true)
    throw new TrainyardError('ValidationFailed', `job ${jobId} did not pass its safety gate: nothing is registered`, {
      fields: [{ pointer: '/safetyPassed', message: 'must be true' }],
    });
}

/** The reports that the gate and the policy read are the stored ones: a lineage never names a report that does not exist. */
async function requireReports(platform: WorkerPlatform, { safetyReport, qualityReport }: Input): Promise<void> {
  for (const { key, digest } of [safetyReport, qualityReport]) {
    const stored = await platform.store.head(key);
    if (stored === null) throw new TrainyardError('ObjectNotFound', `the report ${key} is not in the object store`);
    if (stored.sha256 !== digest)
      throw new TrainyardError('ManifestInvalid', `the report ${key} is not the one that was judged`);
  }
}
