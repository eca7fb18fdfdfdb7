import { type Static, Type } from '#typebox';
import { VARIABLES } from '#lib/service/config.ts';
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
  TRAINER_MAX_MEMORY_MIB: Type.Integer({
    minimum: 0,
    default: 0,
    description: 'resident memory above which a training program ends itself with TrainerOutOfMemory; 0 = no limit',
  }),
  TRAINER_THREADS: Type.Integer({
    minimum: 1,
    maximum: 64,
    default: 1,
    description: "threads of a training program's numeric engine; 1 is the fastest on a busy machine",
  }),
  YIELD_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 600_000,
    default: 4_000,
    description: 'milliseconds a training program gets to save a checkpoint before it is killed',
  }),
  INFERENCE_PORT: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 65_535,
      description: 'port on HOST where the gateway asks for completions; absent: this worker serves no models',
    }),
  ),
  INFERENCE_TOKEN: VARIABLES.INFERENCE_TOKEN,
  INFERENCE_MODELS: Type.Integer({
    minimum: 1,
    maximum: 64,
    // A canary and its baseline.
    default: 2,
    description: 'models that the serving process keeps in memory',
  }),
  INFERENCE_IDLE_MS: Type.Integer({
    minimum: 100,
    maximum: 86_400_000,
    default: 300_000,
    description: 'milliseconds without a request after which the serving process ends',
  }),
});
export type GpuWorkerConfig = Static<typeof GpuWorkerConfig>;
