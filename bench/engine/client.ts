// The client of the engine benchmark: keeps `inFlight` workflows open until `total` have ended, then answers with what it saw.
import { randomUUID } from 'node:crypto';
import { decodeMessage } from '#lib/contracts/envelope.ts';
import { startCommand } from '../../test/support/engine-harness.ts';
import { openPlace, type Place } from '../../test/support/place.ts';
import { programArgument, serve } from '../support/processes.ts';
import { quantile } from '../support/report.ts';

/** What the client is asked to do. */
export interface ClientRequest {
  readonly total: number;
  readonly inFlight: number;
}

/** What it saw; times from the submit to the arrival of `JobFinished`. */
export interface ClientAnswer {
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const { place } = programArgument<{ place: Place }>();
const { bus, codec, close } = await openPlace(place, 'client');
const subscription = await bus.subscribe({
  groupId: `client-${randomUUID()}`,
  topics: ['jobs.events'],
  from: 'end',
  sessionTimeoutMs: 6_000,
});
while (subscription.assignment().length === 0) await subscription.poll({ maxMessages: 1, maxWaitMs: 200 });
serve(close, (request) => runWorkflows(request as ClientRequest));

async function runWorkflows({ total, inFlight }: ClientRequest): Promise<ClientAnswer> {
  const run = randomUUID().slice(0, 8);
  const startedAt = new Map<string, number>();
  const latencies: number[] = [];
  let submitted = 0;
  const submit = async (n: number): Promise<void> => {
    const ids = Array.from({ length: Math.min(n, total - submitted) }, () => `wf-${run}-${submitted++}`);
    const now = performance.now();
    for (const id of ids) startedAt.set(`job-${id}`, now);
    if (ids.length > 0) await bus.publish(ids.map((id) => startCommand(id, 'three_steps', { value: 1 }, 1, codec)));
  };
  const begin = performance.now();
  let publishing = submit(inFlight);
  while (latencies.length < total) {
    const finished = (await finishedJobs()).map((jobId) => startedAt.get(jobId)).filter((at) => at !== undefined);
    for (const at of finished) latencies.push(performance.now() - at);
    if (finished.length === 0) continue;
    await publishing;
    publishing = submit(finished.length);
  }
  const seconds = (performance.now() - begin) / 1_000;
  return { seconds, p50Ms: quantile(latencies, 0.5), p99Ms: quantile(latencies, 0.99) };
}

async function finishedJobs(): Promise<string[]> {
  const messages = await subscription.poll({ maxMessages: 2_000, maxWaitMs: 1_000 });
  return messages.flatMap((received) => {
    const decoded = decodeMessage(codec, received);
    if (!decoded.ok || decoded.message.type !== 'JobFinished') return [];
    const { jobId, status } = decoded.message.payload;
    if (status !== 'COMPLETED') throw new Error(`${jobId} ended ${status}`);
    return [jobId];
  });
}
