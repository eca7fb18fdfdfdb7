import { Type } from 'typebox';
import { WORKER_VARIABLES } from '#lib/worker/worker-service.ts';

/** What the CPU worker reads from its environment. */
export const CpuWorkerConfig = Type.Object({
  ...WORKER_VARIABLES,
  CPU_SLOTS: Type.Integer({ minimum: 1, maximum: 256, default: 2, description: 'activities at once' }),
  WORKSPACE_RETENTION_HOURS: Type.Integer({
    minimum: 1,
    maximum: 8_760,
    // Longer than the longest execution timeout (96 h).
    default: 168,
    description: 'hours after their last change that files of a job stay in the workspace',
  }),
});
