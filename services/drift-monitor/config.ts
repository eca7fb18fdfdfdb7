import { Type } from 'typebox';
import { MESSAGING_VARIABLES } from '#lib/messaging/variables.ts';
import { SERVICE_VARIABLES, VARIABLES } from '#lib/service/config.ts';

/** What the drift monitor reads from its environment. */
export const DriftMonitorConfig = Type.Object({
  ...SERVICE_VARIABLES,
  DATABASE_URL: VARIABLES.DATABASE_URL,
  ...MESSAGING_VARIABLES,
});
