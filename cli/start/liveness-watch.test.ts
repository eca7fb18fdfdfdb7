import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { eventually } from '../../test/support/eventually.ts';
import { homeAt, makeHome } from './home.ts';
import type { LivenessPolicy } from './liveness-watch.ts';
import type { PlatformEvent } from './platform-event.ts';
import { ProcessRecord, recordedProcesses } from './process-record.ts';
import { SupervisedService } from './supervised-service.ts';

const ENTRY = fileURLToPath(new URL('../../test/support/fixtures/service.ts', import.meta.url));
/** A hang is found within 1.25 s. On a busy machine a healthy process misses one of these now and then, four in a row it does not. */
const QUICK: LivenessPolicy = { everyMs: 250, misses: 4 };

describe('a supervised service', () => {
  let folder: string;
  let service: SupervisedService;
  let events: PlatformEvent[];

  const start = (environment: Record<string, string> = {}): void => {
    const home = homeAt(folder);
    service = new SupervisedService({
      definition: { name: 'worker', entry: ENTRY, port: 'HEALTH_PORT', environment: () => environment },
      port: null,
      settings: {
        home,
        databaseUrl: 'postgresql://nowhere',
        inferencePort: 1,
        ports: {},
        logLevel: 'info',
        stopTimeoutMs: 1_000,
        inherited: process.env,
        overrides: {},
      },
      record: new ProcessRecord(home.recordFile),
      onEvent: (event) => events.push(event),
      liveness: QUICK,
    });
  };
  const ask = async (path: string): Promise<string> => {
    const [recorded] = recordedProcesses(homeAt(folder).recordFile);
    return (await fetch(new URL(path, recorded?.readyUrl ?? undefined))).text();
  };
  const typesOf = (): string[] => events.map(({ type }) => type);
  const processId = (): number => {
    if (service.pid === null) throw new Error('the service is down at this moment');
    return service.pid;
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'trainyard-liveness-'));
    events = [];
    await makeHome(homeAt(folder));
  });
  afterEach(async () => {
    await service.stop(1_000);
    await rm(folder, { recursive: true });
  });

  it.each([
    ['is stopped (SIGSTOP)', async (pid: number) => void process.kill(pid, 'SIGSTOP')],
    ['blocks its event loop', () => ask('/block')],
  ])('that %s is killed with its children and started again', async (_how, hang) => {
    start({ FIXTURE_CHILD: '1' });
    await service.firstReady;
    // It must have been seen alive: before that it may take its time.
    await eventually(async () => Number(await ask('/probes')) > 0);
    const pid = processId();
    const child = Number(await ask('/child'));
    await hang(pid);
    await eventually(() => typesOf().filter((type) => type === 'process_ready').length === 2);
    expect(typesOf()).toEqual([
      'process_started',
      'process_ready',
      'process_hung',
      'process_crashed',
      'process_started',
      'process_ready',
    ]);
    expect(events[2]).toMatchObject({ name: 'worker', pid, reason: expect.stringMatching(/no answer within 250 ms/) });
    expect(events[3]).toMatchObject({ pid, exit: { signal: 'SIGKILL' }, restartInMs: 250 });
    const { silentMs } = events[2] as Extract<PlatformEvent, { type: 'process_hung' }>;
    expect(silentMs).toBeGreaterThanOrEqual(QUICK.everyMs * QUICK.misses);
    expect(service.pid).not.toBe(pid);
    await expect(Promise.all([pid, child].map(processIdentity))).resolves.toEqual([null, null]);
  });

  it('that is not ready for long, as without its database, is left alone while it answers', async () => {
    start({ FIXTURE_UNREADY: '1' });
    await eventually(async () => Number(await ask('/probes')) > 2 * QUICK.misses);
    expect(typesOf()).toEqual(['process_started']);
    expect(service.lastRefusal).toMatch(/^answered 503/);
  });

  it('that takes long until it listens is left alone', async () => {
    start({ FIXTURE_LISTEN_AFTER_MS: String(2 * QUICK.misses * QUICK.everyMs) });
    await service.firstReady;
    expect(typesOf()).toEqual(['process_started', 'process_ready']);
    const { afterMs } = events[1] as Extract<PlatformEvent, { type: 'process_ready' }>;
    expect(afterMs).toBeGreaterThan(2 * QUICK.misses * QUICK.everyMs);
  });

  it('that answers now and then is left alone', async () => {
    start({ FIXTURE_FLAKY: '1' });
    await eventually(async () => Number(await ask('/probes')) > 2 * QUICK.misses);
    expect(typesOf()).toEqual(['process_started', 'process_ready']);
  });

  it('that stops on request and hangs meanwhile is the business of the stop, not of the watch', async () => {
    start({ FIXTURE_DEAF: '1' });
    await service.firstReady;
    await eventually(async () => Number(await ask('/probes')) > 0);
    process.kill(processId(), 'SIGSTOP');
    await service.stop(2 * QUICK.misses * QUICK.everyMs);
    expect(typesOf()).toEqual(['process_started', 'process_ready', 'process_stopped']);
    expect(events[2]).toMatchObject({ killed: true });
  });
});
