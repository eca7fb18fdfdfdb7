import { Type } from 'typebox';
import { WORKER_VARIABLES } from '#lib/worker/worker-service.ts';

/** What the GPU worker reads from its environment. */
export const GpuWorkerConfig = Type.Object({
  ...WORKER_VARIABLES,
  GPU_SLOTS: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 64,
      description: 'training programs at once; default: one per NVIDIA device, one without any',
    }),
  ),
  TRAINER_COMMAND: Type.Optional(
    Type.String({
      minLength: 2,
      description:
        'JSON array of a program and its arguments that speaks the trainer protocol; default: the built-in trainer',
    }),
  ),
  YIELD_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 600_000,
    default: 4_000,
    description: 'milliseconds a training program gets to save a checkpoint before it is killed',
  }),
});
