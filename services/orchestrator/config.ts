import { Type } from '#typebox';
import { MESSAGING_VARIABLES } from '#lib/messaging/variables.ts';
import { SERVICE_VARIABLES, VARIABLES } from '#lib/service/config.ts';

const milliseconds = (defaultMs: number, description: string) =>
  Type.Integer({ minimum: 50, maximum: 86_400_000, default: defaultMs, description });

/** What the orchestrator reads from its environment. Times are milliseconds. */
export const OrchestratorConfig = Type.Object({
  ...SERVICE_VARIABLES,
  DATABASE_URL: VARIABLES.DATABASE_URL,
  ...MESSAGING_VARIABLES,
  ORCHESTRATOR_ID: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9._-]{1,128}$',
      description: 'stable name, unique among orchestrators: started anew, it takes its partitions back at once',
    }),
  ),
  HEARTBEAT_EVERY_MS: milliseconds(60_000, 'how often workers report the progress of an attempt'),
  HEARTBEAT_TIMEOUT_MS: milliseconds(300_000, 'an attempt without a heartbeat for this long has lost its lease'),
  ACCEPT_TIMEOUT_MS: milliseconds(60_000, 'a placed attempt that no worker reports for this long is placed again'),
  STALL_FACTOR: Type.Number({
    minimum: 1,
    default: 20,
    description: 'heartbeats without progress for this many times the longest interval seen end the lease',
  }),
  STALL_FLOOR_MS: milliseconds(900_000, 'but never sooner than this'),
  WORKER_TIMEOUT_MS: milliseconds(60_000, 'a worker that announced nothing for this long gets no work'),
  RETRY_INITIAL_MS: milliseconds(1_000, 'wait before the second attempt of an activity'),
  EXECUTION_TIMEOUT_MS: Type.Optional(
    Type.Integer({ minimum: 100, description: "overrides every job type's execution timeout; for tests" }),
  ),
  MAX_BATCH: Type.Integer({
    minimum: 1,
    maximum: 10_000,
    default: 300,
    description:
      'messages of one transaction at most; larger batches move in lockstep and leave the workers idle meanwhile',
  }),
});
