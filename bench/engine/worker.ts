// The CPU worker of the engine benchmark: three activities that do nothing.
import { startWorker } from '../../test/support/engine-harness.ts';
import { programArgument, serve } from '../support/processes.ts';

const { url, slots } = programArgument<{ url: string; slots: number }>();
const nothing = async (): Promise<null> => null;
const { close } = await startWorker(
  url,
  { first: nothing, second: nothing, third: nothing },
  { slots, workerId: 'bench-worker' },
);
serve(close);
