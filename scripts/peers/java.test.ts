import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PeerUnavailable } from './cache.ts';
import { findJavas, javaOfAtLeast, parseJavaVersion } from './java.ts';
import { findTool } from './tools.ts';

describe('the version of a Java', () => {
  it.each([
    ['openjdk version "17.0.15" 2025-04-15', { major: 17, version: '17.0.15' }],
    ['java version "1.8.0_402"', { major: 8, version: '1.8.0_402' }],
    ['openjdk version "25" 2025-09-16 LTS', { major: 25, version: '25' }],
    ['openjdk version "26-ea" 2026-03-17', { major: 26, version: '26-ea' }],
    ['The operation could not be completed. Unable to locate a Java Runtime.', null],
  ])('is read from %j', (text, expected) => {
    expect(parseJavaVersion(text)).toEqual(expected);
  });
});

describe('the Java for a peer', () => {
  it('is the first that is new enough; PEERS_JAVA comes before all others', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'trainyard-java-'));
    try {
      const fake = async (name: string, version: string): Promise<string> => {
        const program = join(dir, name, 'java');
        await mkdir(join(dir, name));
        await writeFile(program, `#!/bin/sh\necho 'openjdk version "${version}"' >&2\n`);
        await chmod(program, 0o755);
        return program;
      };
      const [old, given] = [await fake('old', '11.0.2'), await fake('given', '33.0.1')];
      await fake('broken', 'x');
      const javas = await findJavas({ PEERS_JAVA: given, PATH: `${join(dir, 'old')}:${join(dir, 'broken')}` });
      expect(javas.slice(0, 2).map(({ major }) => major)).toEqual([33, 11]);
      expect(javas[1]?.program).toBe(old);
      expect(javaOfAtLeast(12, javas, 'a probe').program).toBe(given);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('that is missing is a reason that names what was found', () => {
    const javas = [{ program: '/java', major: 11, version: '11.0.2' }];
    expect(() => javaOfAtLeast(17, javas, 'Kafka')).toThrow(
      new PeerUnavailable('Kafka needs Java 17 or newer: found 11.0.2'),
    );
    expect(() => javaOfAtLeast(17, [], 'Kafka')).toThrow('none was found');
  });
});

it('a tool that is missing is a reason that names it and its purpose', async () => {
  await expect(findTool('no-such-tool', 'build it', { PATH: '/usr/bin' })).rejects.toThrow(
    'no-such-tool is not on PATH; it is needed to build it',
  );
});
