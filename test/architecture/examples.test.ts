import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import avro from 'avsc';
import { describe, expect, it } from 'vitest';
import { MESSAGE_SCHEMAS } from '#lib/contracts/generated/messages.ts';
import { type TopicDeclaration, TOPICS } from '#lib/contracts/topics.ts';
import { read, repositoryFiles, ROOT } from './source-tree.ts';

const NODE = 'examples/producer-node';
const PYTHON = 'examples/producer-python';

/** Plain JavaScript without types of its own. */
const { encode, decode } = (await import(pathToFileURL(join(ROOT, NODE, 'avro.js')).href)) as {
  readonly encode: (schema: unknown, value: unknown) => Buffer;
  readonly decode: (schema: unknown, bytes: Buffer) => unknown;
};

const PUBLIC = (Object.values(TOPICS) as TopicDeclaration[]).flatMap((topic) =>
  topic.public === undefined ? [] : topic.messages,
);

/** avsc's own objects have classes; a comparison of plain values is enough, with bytes as text. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('the example producers', () => {
  it('import nothing of this repository, so that a folder can be copied', () => {
    const sources = repositoryFiles().filter((path) => /^examples\/producer-.*\.(js|py)$/.test(path));
    expect(sources.length).toBeGreaterThanOrEqual(3);
    const outside = sources.flatMap((path) =>
      [...read(path).matchAll(/(?:from|import\()\s*['"]([^'"]+)['"]/g)]
        .map(([, specifier = '']) => specifier)
        .filter((specifier) => specifier.startsWith('..') || specifier.startsWith('#'))
        .map((specifier) => `${path} -> ${specifier}`),
    );
    expect(outside).toEqual([]);
  });

  it('pin their packages; kafkajs is the version that the test runs it with', () => {
    const own = JSON.parse(read(`${NODE}/package.json`)) as { dependencies: Record<string, string> };
    const ours = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
    expect(own.dependencies).toEqual({ kafkajs: ours.dependencies['kafkajs'] });
    const requirements = read(`${PYTHON}/requirements.txt`).trim().split('\n');
    expect(requirements.filter((line) => !/^[a-z-]+==[\d.]+$/.test(line))).toEqual([]);
  });
});

describe('Avro by hand in the example', () => {
  it.each(PUBLIC)('writes and reads %s as avsc does', (name) => {
    const schema = JSON.parse(MESSAGE_SCHEMAS[name]) as avro.Schema;
    const type = avro.Type.forSchema(schema);
    for (let n = 0; n < 50; n++) {
      const value = type.random() as unknown;
      const bytes = type.toBuffer(value);
      const decoded = decode(schema, bytes);
      const again = encode(schema, decoded);
      // With the bytes, which say what to try again when one of these random values fails.
      const hex = bytes.toString('hex');
      expect([hex, plain(decoded)]).toEqual([hex, plain(value)]);
      expect([hex, plain(type.fromBuffer(again))]).toEqual([hex, plain(value)]);
      expect([hex, plain(decode(schema, again))]).toEqual([hex, plain(value)]);
    }
  });

  it('takes defaults for what is not given, and refuses a member without one', () => {
    const schema = JSON.parse(MESSAGE_SCHEMAS.JobRequested) as avro.Schema;
    const given = { project: 'p', idempotencyKey: 'k', jobType: 'fine_tune', specJson: '{}' };
    const filled = decode(schema, encode(schema, given));
    expect(filled).toEqual({ ...given, priority: null, labels: {}, description: '' });
    expect(() => encode(schema, { project: 'p' })).toThrow('JobRequested needs idempotencyKey');
  });
});
