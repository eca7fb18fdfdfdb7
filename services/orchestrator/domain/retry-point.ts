import { JOB_STATUS } from '#lib/contracts/jobs.ts';
import type { MachineState } from './machine.ts';
import type { WorkflowState } from './workflow-model.ts';
import type { WorkflowRegistry } from './workflows/registry.ts';
import type { WorkflowContext } from './workflows/workflow-types.ts';

/**
 * Where a FAILED workflow can go on: the state that runs the activity that failed, with everything known before it. Null when it did not fail,
 * or failed where no single step is to be done again (a search whose children are gone).
 */
export function retryPoint(
  registry: WorkflowRegistry,
  { finish, activities, machine, start }: WorkflowState,
): { readonly machine: MachineState; readonly activityId: string } | null {
  if (finish?.status !== JOB_STATUS.failed) return null;
  const failed = Object.values(activities).filter((entry) => entry.state === 'failed');
  const activityId = failed[0]?.request.activityId;
  if (activityId === undefined || failed.length > 1) return null;
  const value = registry.machine(start.definition)?.stateRunning(activityId) ?? null;
  if (value === null) return null;
  const context = { ...(machine.context as WorkflowContext<unknown>), failure: null };
  return { machine: { value, context }, activityId };
}
