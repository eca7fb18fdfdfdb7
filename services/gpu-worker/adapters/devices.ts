import { execFile } from 'node:child_process';

/** Counters of one device, for heartbeats. Memory in MiB, utilisation in per cent. */
export interface DeviceCounters {
  readonly index: number;
  readonly name: string;
  readonly utilisationPercent: number | null;
  readonly memoryUsedMib: number | null;
  readonly memoryTotalMib: number | null;
}

/** nvidia-smi answers within tens of milliseconds; a hung driver must not stop the announcements. */
const QUERY_TIMEOUT_MS = 2_000;

const QUERY = ['--query-gpu=index,name,utilization.gpu,memory.used,memory.total', '--format=csv,noheader,nounits'];

/** The NVIDIA devices of this machine with their counters; an empty list where there is no `nvidia-smi` or no device. */
export function nvidiaDevices(program = 'nvidia-smi'): Promise<DeviceCounters[]> {
  return new Promise((resolve) => {
    execFile(program, QUERY, { timeout: QUERY_TIMEOUT_MS }, (error, stdout) =>
      resolve(error === null ? parseDevices(stdout) : []),
    );
  });
}

/** Parses `nvidia-smi --query-gpu=index,name,utilization.gpu,memory.used,memory.total --format=csv,noheader,nounits`. */
export function parseDevices(csv: string): DeviceCounters[] {
  return csv
    .split('\n')
    .map((line) => line.split(',').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 5 && /^\d+$/.test(cells[0] ?? ''))
    .map(([index, name, utilisation, used, total]) => ({
      index: Number(index),
      name: name ?? '',
      utilisationPercent: counter(utilisation),
      memoryUsedMib: counter(used),
      memoryTotalMib: counter(total),
    }));
}

/** `[N/A]` and the like become null. */
const counter = (text: string | undefined): number | null =>
  text !== undefined && /^\d+(\.\d+)?$/.test(text) ? Number(text) : null;
