import { randomFillSync } from 'node:crypto';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { S3ObjectStore } from '#lib/object-store/s3-store.ts';
import { type S3Server, startS3Server } from '../test/support/s3-server.ts';
import type { Benchmark } from './support/benchmark.ts';
import { machineKind, memoryOf, requireLinux } from './support/machine.ts';
import { costColumns, Meter } from './support/meter.ts';
import { median, print, printGoal, printRounds, type Row } from './support/report.ts';

const MIB = 1_024 * 1_024;
const BUCKET = 'bench';
const SAMPLE_EVERY_MS = 20;

export const objectStore: Benchmark = {
  name: 'object-store',
  summary: 'upload of a file through the S3 store beside a single PutObject of the same bytes, download, memory',
  options: {
    mib: { standard: 256, summary: 'size of the file' },
    rounds: { standard: 5, summary: 'rounds; each does every kind once' },
  },
  run: async (options) => {
    requireLinux();
    const started = await startS3Server();
    if ('reason' in started) throw new Error(`no S3 server: ${started.reason}`);
    const { server } = started;
    const folder = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
    try {
      print(`object-store\n${machineKind()}, S3 server on this machine`);
      await server.makeBucket(BUCKET);
      await measure(server, folder, options.number('mib') * MIB, options.number('rounds'));
    } finally {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    }
  },
};

async function measure(server: S3Server, folder: string, bytes: number, rounds: number): Promise<void> {
  const { endpoint, region, credentials } = server;
  const location = { bucket: BUCKET, prefix: '', endpoint, region, pathStyle: true, encryption: null };
  const store = new S3ObjectStore({ location, client: { credentials } });
  const raw = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  const path = join(folder, 'file');
  await writeRandomFile(path, bytes);
  // 1. Memory first: nothing before it has made the process large. The small upload loads the SDK and opens the connections.
  await writeRandomFile(join(folder, 'small'), 1_000);
  await store.putFile('warm-up', join(folder, 'small'));
  const growthMiB = await growthOf(() => store.putFile('memory', path));
  const back = join(folder, 'back');
  const downloadGrowthMiB = await growthOf(() => store.getToFile('memory', back));
  await store.delete('memory');
  // 2. Speed: every kind once a round, so that all of them meet the same neighbours.
  const rows: Row[] = [];
  const ratios: number[] = [];
  const body = await readFile(path);
  for (let round = 0; round < rounds; round++) {
    const key = `round-${round}`;
    await rm(back, { force: true });
    const meter = await Meter.start(
      { client: process.pid, ...(server.pid === null ? {} : { server: server.pid }) },
      null,
    );
    const put = await timed(() => raw.send(new PutObjectCommand({ Bucket: BUCKET, Key: `${key}-raw`, Body: body })));
    const upload = await timed(() => store.putFile(key, path));
    const again = await timed(() => store.putFile(key, path));
    const download = await timed(() => store.getToFile(key, back));
    const readings = await meter.stop();
    for (const each of [key, `${key}-raw`]) await store.delete(each);
    const rate = (ms: number): string => (bytes / MIB / (ms / 1_000)).toFixed(0);
    ratios.push(put / upload);
    rows.push({
      'single PutObject MiB/s': rate(put),
      'putFile MiB/s': rate(upload),
      'ratio %': ((put / upload) * 100).toFixed(0),
      'skip ms': again.toFixed(0),
      'getToFile MiB/s': rate(download),
      'other load': costColumns(readings, 1)['other load'] ?? '',
    });
  }
  print('');
  printRounds(rows);
  print('');
  printGoal('upload through the store / single PutObject', median(ratios) * 100, '%', { atLeast: 60 });
  printGoal('memory above idle, upload', growthMiB, 'MiB', { atMost: 64 });
  print(
    `         memory above idle, download: ${downloadGrowthMiB.toFixed(0)} MiB (pieces of 64 KiB that wait for the collector)`,
  );
  raw.destroy();
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** The most that the process held while it worked, above what it held before; MiB of resident pages. */
async function growthOf(work: () => Promise<unknown>): Promise<number> {
  const residentMiB = (): number => (memoryOf(process.pid).rssMb * 1e6) / MIB;
  const before = residentMiB();
  let most = before;
  const timer = setInterval(() => (most = Math.max(most, residentMiB())), SAMPLE_EVERY_MS);
  await work();
  clearInterval(timer);
  return Math.max(most, residentMiB()) - before;
}

/** Bytes that neither the disk nor the server can make smaller; one block at a time, so that the process stays as small as it was. */
async function writeRandomFile(path: string, bytes: number): Promise<void> {
  const block = Buffer.allocUnsafe(MIB);
  const file = await open(path, 'w');
  for (let at = 0; at < bytes; at += MIB) await file.write(randomFillSync(block), 0, Math.min(MIB, bytes - at));
  await file.close();
}
