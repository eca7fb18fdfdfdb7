/**
 * The built-in trainer: `node main.ts <spec.json>` (docs/trainer-protocol.md). Exit codes: 0 done, 75 stopped on request after
 * a checkpoint, 65 bad data, 78 bad spec, 1 anything else, the last three after an `error` line.
 */
import { setPriority } from 'node:os';

/** Below normal: the services' heartbeats must win on two cores, or leases are lost to our own arithmetic. */
const NICENESS = 10;

// First of all, before the slow imports: a stop request must never meet the default handler, which would kill without a word.
let stopRequested = false;
const requestStop = (): void => {
  stopRequested = true;
};
process.on('SIGTERM', requestStop);
process.on('SIGINT', requestStop);

try {
  setPriority(NICENESS);
} catch {
  // Refused in some sandboxes; training works at any priority.
}

const [{ runTrainer }, { sendToStdout }] = await Promise.all([import('./run-trainer.ts'), import('./messages.ts')]);
process.exit(await runTrainer(process.argv[2], { send: sendToStdout, stopRequested: () => stopRequested }));
