// The CPU worker of the engine benchmark: three activities that do nothing.
import { startWorker } from '../../test/support/engine-harness.ts';
import { argument, ready } from './process.ts';

const nothing = async (): Promise<null> => null;
const { close } = await startWorker(
  argument(0),
  { first: nothing, second: nothing, third: nothing },
  { slots: Number(argument(1)), workerId: 'bench-worker' },
);
ready(close);
