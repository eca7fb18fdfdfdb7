import { Type } from '#typebox';
import { MESSAGING_VARIABLES } from '#lib/messaging/variables.ts';
import { SERVICE_VARIABLES, VARIABLES } from '#lib/service/config.ts';

const HOUR_MS = 3_600_000;

/** What the drift monitor reads from its environment. */
export const DriftMonitorConfig = Type.Object({
  ...SERVICE_VARIABLES,
  DATABASE_URL: VARIABLES.DATABASE_URL,
  ...MESSAGING_VARIABLES,
  OBSERVATION_RETENTION_MS: Type.Integer({
    minimum: HOUR_MS,
    // As long as the topic: what the bus may deliver again is still known.
    default: 72 * HOUR_MS,
    description: 'how long raw observations are kept: duplicates are known and late labels taken for as long',
  }),
  OBSERVATIONS_PER_WINDOW: Type.Integer({
    minimum: 1_000,
    default: 100_000,
    description:
      'observations of a model version and window before a flood is thinned: every second, then every fourth, ...',
  }),
});
