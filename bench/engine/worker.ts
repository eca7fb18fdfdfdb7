// The CPU worker of the engine benchmark: three activities that do nothing.
import { startWorker } from '../../test/support/engine-harness.ts';
import type { Place } from '../../test/support/place.ts';
import { programArgument, serve } from '../support/processes.ts';

const { place, slots } = programArgument<{ place: Place; slots: number }>();
const nothing = async (): Promise<null> => null;
const { close } = await startWorker(
  place,
  { first: nothing, second: nothing, third: nothing },
  { slots, workerId: 'bench-worker' },
);
serve(close);
