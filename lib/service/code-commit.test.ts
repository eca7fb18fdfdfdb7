import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeCommit } from './code-commit.ts';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'trainyard-commit-'));
  await writeFile(join(root, 'package.json'), '{"version":"1.2.3"}');
});
afterEach(() => rm(root, { recursive: true }));

const git = async (files: Record<string, string>): Promise<void> => {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(root, '.git', name, '..'), { recursive: true });
    await writeFile(join(root, '.git', name), text);
  }
};

describe('codeCommit', () => {
  it('is what is configured, before anything else', async () => {
    await git({ HEAD: COMMIT });
    expect(await codeCommit('abc', root)).toBe('abc');
  });
  it('follows HEAD to a loose reference', async () => {
    await git({ HEAD: 'ref: refs/heads/main\n', 'refs/heads/main': `${COMMIT}\n` });
    expect(await codeCommit(undefined, root)).toBe(COMMIT);
  });
  it('follows HEAD to a packed reference', async () => {
    await git({ HEAD: 'ref: refs/heads/main\n', 'packed-refs': `# pack-refs\n${COMMIT} refs/heads/main\n` });
    expect(await codeCommit(undefined, root)).toBe(COMMIT);
  });
  it('is the version of the package where there is no checkout', async () => {
    expect(await codeCommit(undefined, root)).toBe('trainyard@1.2.3');
  });
});
