import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { processIdentity, signalProcess } from '#lib/postgres/process-identity.ts';

export interface RecordedProcess {
  readonly name: string;
  readonly pid: number;
  readonly startedAt: string;
  /** Where it says whether it is ready; null for PostgreSQL. */
  readonly readyUrl: string | null;
}

/** A service whose supervisor died stops by itself (its standard input closes); this is how long it may take before it is killed. */
const LEFTOVER_GRACE_MS = 8_000;
const POLL_MS = 50;

/** The processes of a platform, kept in a file so that the next start finds what a killed supervisor left behind. */
export class ProcessRecord {
  readonly #file: string;
  readonly #processes = new Map<string, RecordedProcess>();

  constructor(file: string) {
    this.#file = file;
  }

  async started(name: string, pid: number, readyUrl: string | null): Promise<void> {
    const identity = await processIdentity(pid);
    if (identity === null) return;
    this.#processes.set(name, { name, pid, startedAt: identity.startedAt, readyUrl });
    this.#write();
  }

  ended(name: string): void {
    if (this.#processes.delete(name)) this.#write();
  }

  #write(): void {
    writeFileSync(`${this.#file}.new`, `${JSON.stringify([...this.#processes.values()], null, 2)}\n`, { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }
}

/** What the file says; empty when there is none or it cannot be read. */
export function recordedProcesses(file: string): readonly RecordedProcess[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as RecordedProcess[];
  } catch {
    return [];
  }
}

/**
 * Waits for the services of a dead supervisor to end and kills those that do not, with their children (each service leads a process group).
 * The caller holds the lock of the home. Calls `onFound` for each one that was still there. PostgreSQL sees to itself (embedded-server.ts).
 */
export async function stopLeftovers(file: string, onFound: (found: RecordedProcess) => void): Promise<void> {
  const services = recordedProcesses(file).filter((entry) => entry.readyUrl !== null);
  await Promise.all(
    services.map(async (service) => {
      const alive = async (): Promise<boolean> => (await processIdentity(service.pid))?.startedAt === service.startedAt;
      if (await alive()) {
        onFound(service);
        for (let waited = 0; waited < LEFTOVER_GRACE_MS && (await alive()); waited += POLL_MS) await delay(POLL_MS);
      }
      // A leader that is ours leads a group of ours; asked again a moment after its death, it would still be there and its children would live on.
      if ((await alive()) || (await isOurGroup(service))) signalProcess(-service.pid, 'SIGKILL');
    }),
  );
}

/**
 * A group without its leader keeps the leader's number from being used again, so on the same boot the members (a trainer whose worker was
 * killed) are ours. After a reboot the number means nothing.
 */
async function isOurGroup(service: RecordedProcess): Promise<boolean> {
  if ((await processIdentity(service.pid)) !== null) return false;
  const self = await processIdentity(process.pid);
  const boot = (startedAt: string | undefined): string | undefined => startedAt?.split(':')[0];
  return process.platform === 'linux' && boot(self?.startedAt) === boot(service.startedAt);
}
