import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { fetchDataset } from '#lib/worker/dataset-file.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { validateDatasetFile } from '../data/validate-dataset-file.ts';

/** Step 5 of the flow: the dataset version exists, has the recorded digest, and every line of it can be used. */
export async function validateDataset(
  platform: WorkerPlatform,
  { input: { dataset }, signal, progress }: ActivityContext<ActivityInput<'validate_dataset'>>,
): Promise<ActivityOutput<'validate_dataset'>> {
  const path = await fetchDataset(platform, dataset, signal);
  const report = await validateDatasetFile({
    path,
    format: dataset.format,
    expectedSha256: dataset.sha256,
    signal,
    onProgress: (done, total) => progress({ step: done, stepsTotal: total }),
  });
  return { format: report.format, documents: report.documents, bytes: report.bytes, sha256: report.sha256 };
}
