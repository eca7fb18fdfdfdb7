import { join } from 'node:path';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { jobFolder, pull, pullBase, WORKSPACE } from '#lib/worker/workspace.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';

/** Step 7 of the flow: tokens and base model from the object store into the job's workspace, every file verified. */
export async function prepareWorkspace(
  platform: WorkerPlatform,
  { input: { jobId, data, base }, signal }: ActivityContext<ActivityInput<'prepare_workspace'>>,
): Promise<ActivityOutput<'prepare_workspace'>> {
  const workspace = jobFolder(jobId);
  const folder = join(platform.workspaceDir, workspace);
  const tokens = await pull(platform, data, join(folder, WORKSPACE.data), signal);
  const model = await pullBase(platform, base, folder, signal);
  return { workspace, bytes: tokens.bytes + model.bytes, files: tokens.files + model.files };
}
