import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');
const COMMIT = /^[0-9a-f]{40}([0-9a-f]{24})?$/;

/** The commit that runs, for the lineage: what is configured, else the checkout's HEAD (read from its files), else `trainyard@<version>`. */
export async function codeCommit(configured: string | undefined, root = ROOT): Promise<string> {
  if (configured !== undefined) return configured;
  const head = await headOf(join(root, '.git')).catch(() => null);
  if (head !== null) return head;
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  return `trainyard@${version}`;
}

async function headOf(gitDir: string): Promise<string | null> {
  const head = (await readFile(join(gitDir, 'HEAD'), 'utf8')).trim();
  if (COMMIT.test(head)) return head;
  const ref = /^ref: (refs\/[\w./-]+)$/.exec(head)?.[1];
  if (ref === undefined) return null;
  const loose = await readFile(join(gitDir, ref), 'utf8').catch(() => '');
  if (COMMIT.test(loose.trim())) return loose.trim();
  const packed = await readFile(join(gitDir, 'packed-refs'), 'utf8').catch(() => '');
  const line = packed.split('\n').find((candidate) => candidate.endsWith(` ${ref}`));
  const commit = line?.split(' ')[0] ?? '';
  return COMMIT.test(commit) ? commit : null;
}
