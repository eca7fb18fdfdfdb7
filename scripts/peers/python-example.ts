import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { installOnce, type PeerCache } from './cache.ts';
import { buildPythonEnvironment, pythonOf } from './python.ts';

const REQUIREMENTS = join(import.meta.dirname, '../../examples/producer-python/requirements.txt');

/** A Python with what the example producer needs, for the test that runs it. Named after its requirements: others are another environment. */
export async function installPythonExample(cache: PeerCache): Promise<string> {
  const requirements = await readFile(REQUIREMENTS, 'utf8');
  const digest = createHash('sha256').update(requirements).digest('hex').slice(0, 12);
  const folder = await installOnce(cache, {
    name: `examples-python-${digest}`,
    description: 'what the example producer in Python needs, by pip (20 MB, seconds, once)',
    build: async (unfinished) => {
      const packages = ['-r', REQUIREMENTS];
      await buildPythonEnvironment(cache, unfinished, { what: 'the example in Python', oldestMinor: 10, packages });
    },
  });
  return pythonOf(folder);
}
