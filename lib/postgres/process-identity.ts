import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';

/**
 * What a process is, beyond its number: numbers are reused, quickly so in a container. `startedAt` together with the pid is unique
 * on one boot (Linux: clock ticks since boot with the boot id; elsewhere the start time `ps` shows).
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startedAt: string;
  /** The command line, its arguments separated by blanks. */
  readonly command: string;
}

/** Null when no process has that number (a zombie that nobody has reaped counts as none). */
export async function processIdentity(pid: number): Promise<ProcessIdentity | null> {
  if (!Number.isInteger(pid) || pid <= 0) return null;
  return process.platform === 'linux' ? fromProc(pid) : fromPs(pid);
}

/** Sends a signal; a process that is gone already is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function fromProc(pid: number): Promise<ProcessIdentity | null> {
  try {
    const [status, command, bootId] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
      readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => ''),
    ]);
    // The second field is the program's name in brackets and may hold blanks; proc(5) counts state as 3 and starttime as 22.
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return null;
    return { pid, startedAt: `${bootId.trim()}:${fields[19]}`, command: command.replaceAll('\0', ' ').trim() };
  } catch {
    return null;
  }
}

function fromPs(pid: number): Promise<ProcessIdentity | null> {
  return new Promise((resolve) => {
    let text = '';
    const child = spawn('ps', ['-ww', '-o', 'stat=,lstart=,command=', '-p', String(pid)], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    });
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    child.once('error', () => resolve(null));
    child.once('close', () => {
      // "S+   Tue Nov 24 03:32:02 2026 node cli/main.ts start"
      const match = /^\s*(\S+)\s+(\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s(.*)$/m.exec(text);
      if (match === null || match[1]?.startsWith('Z') === true) return resolve(null);
      resolve({ pid, startedAt: match[2] ?? '', command: (match[3] ?? '').trim() });
    });
  });
}
