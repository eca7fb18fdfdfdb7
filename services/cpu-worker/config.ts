import { type Static, Type } from '#typebox';
import { TrainyardError } from '#lib/kernel/errors.ts';
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
  TRAFFIC_WEBHOOK_URL: Type.Optional(
    Type.String({
      pattern: '^https?://',
      description: 'told of every change of which model versions answer; absent: the topic models.events alone',
    }),
  ),
  TRAFFIC_WEBHOOK_SECRET: Type.Optional(
    Type.String({ minLength: 16, description: 'signs what is sent there; required with TRAFFIC_WEBHOOK_URL' }),
  ),
});
export type CpuWorkerConfig = Static<typeof CpuWorkerConfig>;

/** Null: there is none. Throws `ValidationFailed` for one without a secret: its receiver could not know whom it hears. */
export function trafficWebhook(config: CpuWorkerConfig): { url: string; secret: string } | null {
  const { TRAFFIC_WEBHOOK_URL: url, TRAFFIC_WEBHOOK_SECRET: secret } = config;
  if (url === undefined) return null;
  if (secret !== undefined) return { url, secret };
  throw new TrainyardError('ValidationFailed', 'TRAFFIC_WEBHOOK_SECRET is required with TRAFFIC_WEBHOOK_URL', {
    fields: [{ pointer: '/TRAFFIC_WEBHOOK_SECRET', message: 'is required with TRAFFIC_WEBHOOK_URL' }],
  });
}
