import { Type } from 'typebox';
import { SERVICE_VARIABLES, VARIABLES } from '#lib/service/config.ts';

/** What the drift monitor reads from its environment. */
export const DriftMonitorConfig = Type.Object({
  ...SERVICE_VARIABLES,
  DATABASE_URL: VARIABLES.DATABASE_URL,
  BUS_URL: VARIABLES.BUS_URL,
});
