import { setTimeout as delay } from 'node:timers/promises';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { ExecuteActivity, MessageTypes } from '#lib/contracts/generated/messages.ts';
import type { MessageType } from '#lib/contracts/topics.ts';
import { startCommand } from '../test/support/engine-harness.ts';
import { BenchWorker } from './engine/bench-worker.ts';
import { type BenchDatabase, BUS_OPTION, withDatabase } from './support/bench-database.ts';
import type { Benchmark } from './support/benchmark.ts';
import { Meter, type Readings } from './support/meter.ts';
import { end, FINE_TUNE_INPUT, PUBLISH_CHUNK, publish, startOrchestrator } from './support/product-orchestrator.ts';
import { print, printGoal, printTable, type Row } from './support/report.ts';

const ATTEMPTS_EACH = 4;
/** The seed's interval of a GPU attempt's heartbeat. */
const INTERVAL_S = 60;
const TICK_MS = 20;

export const heartbeats: Benchmark = {
  name: 'heartbeats',
  summary:
    'what the heartbeats of many GPU workers with four running attempts each cost the platform, in shares of one core',
  options: {
    workers: { standard: 1_000, summary: 'simulated GPU workers' },
    announce: { standard: 60, summary: "seconds between two announcements of a worker (the product's default: 5)" },
    seconds: { standard: 60, summary: 'length of a round at the real rate; the compressed one takes a third' },
    times: { standard: 20, summary: 'the compressed round: so many minutes in one' },
    bus: BUS_OPTION,
    profile: { standard: false, summary: "write the orchestrator's .cpuprofile to the temporary folder" },
  },
  run: (options) =>
    withDatabase({ title: 'heartbeats', bus: options.text('bus') }, async (bench) => {
      const [workers, seconds] = [options.number('workers'), options.number('seconds')];
      const orchestrator = await startOrchestrator(bench, null, options.flag('profile'));
      const fleet = await Fleet.start(bench, workers, options.number('announce'));
      const pids = { ...bench.servers, orchestrator: orchestrator.child.pid ?? 0 };
      const round = async (times: number, length: number): Promise<Readings> => {
        const meter = await Meter.start(pids, bench);
        await (times === 0 ? delay(length * 1_000) : fleet.beat(times, length));
        return meter.stop();
      };
      // Statements are planned and code is compiled before anything counts.
      await fleet.beat(options.number('times'), 5);
      const idle = await round(0, seconds / 3);
      const real = await round(1, seconds);
      const compressed = await round(options.number('times'), seconds / 3);
      const times = options.number('times');
      print(
        `\n${workers} workers, ${workers * ATTEMPTS_EACH} running attempts, ${fleet.perMinute} messages a minute; per cent of one core`,
      );
      printTable([
        { round: 'idle', ...shares(idle, 1) },
        { round: 'real rate', ...shares(real, 1) },
        { round: `${times} minutes in one, divided by ${times}`, ...shares(compressed, times) },
      ]);
      const percent = shareOf(real, 'orchestrator') - shareOf(idle, 'orchestrator');
      printGoal('orchestrator at the real rate, above idle', percent, '% of one core', { atMost: 5 });
      await end(orchestrator, options.flag('profile') ? 'SIGTERM' : 'SIGKILL');
      await fleet.close();
    }),
};

const shareOf = ({ cpuMs, seconds }: Readings, process: string): number => (cpuMs[process] ?? 0) / seconds / 10;

function shares(readings: Readings, divisor: number): Row {
  const columns: Record<string, string> = {};
  for (const name of Object.keys(readings.cpuMs)) columns[name] = (shareOf(readings, name) / divisor).toFixed(2);
  columns['WAL kB/s'] = (readings.walBytes / readings.seconds / 1_000 / divisor).toFixed(1);
  columns['other load'] = readings.otherCores.toFixed(2);
  return columns;
}

/** GPU workers that only say that they and their attempts live. Each publishes by itself, as processes of their own would. */
class Fleet {
  readonly perMinute: number;
  readonly #bench: BenchDatabase;
  readonly #commands: readonly ExecuteActivity[];
  readonly #workers: number;
  readonly #announceS: number;
  readonly #listener: BenchWorker;
  #step = 0;
  #beat = 0;

  private constructor(
    bench: BenchDatabase,
    options: { workers: number; announceS: number; commands: readonly ExecuteActivity[]; listener: BenchWorker },
  ) {
    this.#bench = bench;
    this.#workers = options.workers;
    this.#announceS = options.announceS;
    this.#commands = options.commands;
    this.#listener = options.listener;
    this.perMinute = (this.#workers * 60) / this.#announceS + (options.commands.length * 60) / INTERVAL_S;
  }

  /** As many workflows as there are attempts, each with one that a worker of the fleet has reported as running. */
  static async start(bench: BenchDatabase, workers: number, announceS: number): Promise<Fleet> {
    const attempts = workers * ATTEMPTS_EACH;
    const listener = await BenchWorker.start(bench, attempts * 2);
    const ids = Array.from({ length: attempts }, (_, n) => `wf-beating-${n}`);
    await publish(
      bench,
      ids.map((id) => startCommand(id, 'fine_tune', FINE_TUNE_INPUT, 1, bench.codec)),
    );
    const commands = new Map<string, ExecuteActivity>();
    while (commands.size < attempts)
      for (const command of await listener.take(PUBLISH_CHUNK)) commands.set(command.workflowId, command);
    const fleet = new Fleet(bench, { workers, announceS, commands: [...commands.values()], listener });
    await publish(
      bench,
      fleet.#commands.map((command, n) =>
        fleet.#message('ActivityStarted', 'activities.events', command.workflowId, {
          ...fleet.#attempt(command, n),
          startedAtMs: Date.now(),
        }),
      ),
    );
    for (;;) {
      const { rows } = await bench.database.query<{ n: number }>(
        `select count(*)::int as n from activities where state = 'running'`,
      );
      if ((rows[0]?.n ?? 0) === attempts) return fleet;
      await delay(200);
    }
  }

  /** Lives for `seconds`, `times` as fast as in reality; returns when everything was published. */
  async beat(times: number, seconds: number): Promise<void> {
    const start = performance.now();
    const sent = { announcements: 0, heartbeats: 0 };
    const pending: Promise<void>[] = [];
    for (let elapsed = 0; elapsed < seconds; elapsed = (performance.now() - start) / 1_000) {
      const due = (intervalS: number): number => Math.floor((elapsed * times * this.#workers) / intervalS);
      for (; sent.announcements < due(this.#announceS); sent.announcements++)
        pending.push(this.#bench.bus.publish([this.#announcement(sent.announcements % this.#workers)]));
      for (; sent.heartbeats < due(INTERVAL_S); sent.heartbeats++)
        pending.push(this.#bench.bus.publish(this.#heartbeats(sent.heartbeats % this.#workers)));
      await delay(TICK_MS);
    }
    await Promise.all(pending);
  }

  close(): Promise<void> {
    return this.#listener.close();
  }

  #announcement(worker: number): OutgoingMessage {
    return this.#message('WorkerHeartbeat', 'workers.events', `gpu-${worker}`, {
      workerId: `gpu-${worker}`,
      incarnation: `life-${worker}`,
      lane: 'gpu',
      slots: ATTEMPTS_EACH,
      running: this.#attemptsOf(worker).map(({ workflowId, activityId, epoch }) => ({ workflowId, activityId, epoch })),
      partitions: [worker % 8],
      deviceJson: DEVICES,
    });
  }

  /** Steps advance: a heartbeat without progress is another case. */
  #heartbeats(worker: number): OutgoingMessage[] {
    const step = ++this.#step;
    return this.#attemptsOf(worker).map((command, n) => {
      const attempt = this.#attempt(command, worker * ATTEMPTS_EACH + n);
      return this.#message('ActivityProgressed', 'activities.events', command.workflowId, {
        ...attempt,
        step,
        stepsTotal: 1_000_000,
        throughput: 35_000,
        deviceJson: DEVICES,
        metrics: [
          { name: 'train.loss', step, value: 2 },
          { name: 'train.tokens_per_second', step, value: 35_000 },
        ],
      });
    });
  }

  #attemptsOf(worker: number): readonly ExecuteActivity[] {
    return this.#commands.slice(worker * ATTEMPTS_EACH, (worker + 1) * ATTEMPTS_EACH);
  }

  #attempt({ workflowId, activityId, epoch }: ExecuteActivity, n: number) {
    const worker = Math.floor(n / ATTEMPTS_EACH);
    return { workflowId, activityId, epoch, workerId: `gpu-${worker}`, incarnation: `life-${worker}` };
  }

  #message<T extends MessageType>(
    type: T,
    topic: 'activities.events' | 'workers.events',
    key: string,
    payload: MessageTypes[T],
  ): OutgoingMessage {
    const envelope = { id: `beat-${++this.#beat}`, source: '/bench', timeMs: Date.now() };
    return encodeMessage(this.#bench.codec, { topic, key, type, payload, envelope });
  }
}

const DEVICES = JSON.stringify([{ index: 0, utilisation: 97, memoryUsedMb: 71_234, memoryTotalMb: 81_559 }]);
