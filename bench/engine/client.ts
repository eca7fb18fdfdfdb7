// The client of the engine benchmark: keeps `inFlight` workflows open until `total` have ended, then reports.
import { randomUUID } from 'node:crypto';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { decodeMessage } from '#lib/contracts/envelope.ts';
import { Database } from '#lib/postgres/database.ts';
import { codec, startCommand } from '../../test/support/engine-harness.ts';
import { argument } from './process.ts';

const [url, total, inFlight] = [argument(0), Number(argument(1)), Number(argument(2))];
const database = new Database({ url, applicationName: 'client' });
const bus = new PostgresBus({ database });
const subscription = await bus.subscribe({
  groupId: `client-${randomUUID()}`,
  topics: ['jobs.events'],
  from: 'end',
  sessionTimeoutMs: 6_000,
});
await subscription.poll({ maxMessages: 1, maxWaitMs: 200 });
process.send?.('ready');

const run = randomUUID().slice(0, 8);
const startedAt = new Map<string, number>();
const latencies: number[] = [];
let submitted = 0;
const submit = async (n: number): Promise<void> => {
  const ids = Array.from({ length: Math.min(n, total - submitted) }, () => `wf-${run}-${submitted++}`);
  const now = performance.now();
  for (const id of ids) startedAt.set(`job-${id}`, now);
  if (ids.length > 0) await bus.publish(ids.map((id) => startCommand(id)));
};

const begin = performance.now();
let publishing = submit(inFlight);
while (latencies.length < total) {
  const messages = await subscription.poll({ maxMessages: 2_000, maxWaitMs: 1_000 });
  let finished = 0;
  for (const received of messages) {
    const decoded = decodeMessage(codec, received);
    if (!decoded.ok || decoded.message.type !== 'JobFinished') continue;
    const at = startedAt.get(decoded.message.payload.jobId);
    if (at === undefined) continue;
    if (decoded.message.payload.status !== 'COMPLETED')
      throw new Error(`a run ended ${decoded.message.payload.status}`);
    latencies.push(performance.now() - at);
    finished++;
  }
  if (finished > 0) {
    await publishing;
    publishing = submit(finished);
  }
}
const seconds = (performance.now() - begin) / 1_000;
latencies.sort((a, b) => a - b);
const at = (q: number): number => latencies[Math.min(latencies.length - 1, Math.floor(q * latencies.length))] ?? 0;
process.send?.({
  seconds,
  p50Ms: at(0.5),
  p99Ms: at(0.99),
  cpuMs: process.cpuUsage().user / 1_000 + process.cpuUsage().system / 1_000,
});
await subscription.close();
await bus.close();
await database.close();
process.disconnect();
