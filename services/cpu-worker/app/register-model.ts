import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { whenRegistryServes } from '#lib/worker/registry-wait.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { trainingDataTags } from '../domain/training-data-tags.ts';
import { baseDigest, modelTags, requireOwnArtifacts } from './registered-model.ts';

/** Step 11 of the flow: a model version in stage `dev` with its whole lineage. The job is the dedupe key: however often it runs, one version. */
export async function registerModel(
  platform: WorkerPlatform,
  { input, epoch, signal }: ActivityContext<ActivityInput<'register_model'>>,
): Promise<ActivityOutput<'register_model'>> {
  const { jobId, project, name, dataset, artifacts, report } = input;
  await requireOwnArtifacts(platform, input);
  const created = {
    project,
    name,
    sourceKey: jobId,
    manifestKey: artifacts.manifestKey,
    lineage: {
      jobId,
      runId: input.runId,
      datasetName: dataset.name,
      datasetVersion: String(dataset.version),
      datasetDigest: dataset.sha256,
      configDigest: input.configDigest,
      codeCommit: input.codeCommit,
      baseModelDigest: baseDigest(input.base),
      evaluationReportDigest: report.digest,
      manifestDigest: artifacts.digest,
    },
    tags: { ...(await modelTags(platform, input)), ...trainingDataTags(input) },
  };
  const version = await whenRegistryServes(platform, signal, (registry) => registry.createVersion(created));
  platform.log.info({ jobId, name, version: version.version, epoch }, 'model version registered');
  return { name, version: version.version, stage: version.stage, lineage: { ...version.lineage } };
}
