import { describe, expect, it } from 'vitest';
import { generateMessages } from '#lib/contracts/generate.ts';
import { releasedSchemas } from '../../scripts/contracts/schema-files.ts';
import { MESSAGE_SCHEMAS } from '#lib/contracts/generated/messages.ts';
import { type MessageType, TOPICS, WORKFLOW_PARTITIONS } from '#lib/contracts/topics.ts';
import { type Compatibility, incompatibilities, wrongUnions } from './schema-compatibility.ts';
import { read, repositoryFiles } from './source-tree.ts';

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1, -'.avsc'.length);
const schemas = repositoryFiles().filter((path) => /^schemas\/avro\/\w+\.avsc$/.test(path));
const released = repositoryFiles().filter((path) => /^schemas\/avro\/released\/\d+\/\w+\.avsc$/.test(path));
const topics = Object.entries(TOPICS) as [
  string,
  { messages: readonly MessageType[]; compatibility: Compatibility; partitions: number },
][];
const topicsOf = (message: string): string[] =>
  topics.flatMap(([topic, { messages }]) => ((messages as readonly string[]).includes(message) ? [topic] : []));

describe('the messages between services', () => {
  it('are looked at: more than ten of them', () => {
    expect(schemas.length).toBeGreaterThan(10);
  });

  it('are generated: the committed types equal a fresh generation (else: npm run generate)', () => {
    // Not `toBe` on the texts: their difference would fill the screen.
    const isFresh =
      read('lib/contracts/generated/messages.ts') === generateMessages(schemas.map(read), releasedSchemas());
    expect(isFresh).toBe(true);
  });

  it('lie in a file of their own name and say what each of their fields means', () => {
    const wrong = schemas.flatMap((path) => {
      const schema = JSON.parse(read(path)) as {
        name: string;
        namespace: string;
        doc?: string;
        fields: { name: string; doc?: string }[];
      };
      const misnamed =
        schema.name !== nameOf(path) || schema.namespace !== 'trainyard.v1'
          ? [`${path} is ${schema.namespace}.${schema.name}`]
          : [];
      const silent = [schema, ...schema.fields]
        .filter(({ doc }) => doc === undefined || doc === '')
        .map(({ name }) => `${path}: ${name}`);
      return [...misnamed, ...silent];
    });
    expect(wrong).toEqual([]);
  });

  it('have no unions but ["null", X]', () => {
    expect(schemas.flatMap((path) => wrongUnions(JSON.parse(read(path))).map((place) => `${path}${place}`))).toEqual(
      [],
    );
  });

  // Apicurio answers 422 to such a schema ("cannot discover the artifact type"), and the deploy stops.
  it('have no text with braces as a default', () => {
    const braces = schemas.filter((path) => /"default": *"[^"]*[{}]/.test(read(path)));
    expect(braces).toEqual([]);
  });

  it('travel on exactly one topic each; work for a lane on that of each lane', () => {
    expect(Object.keys(MESSAGE_SCHEMAS).sort()).toEqual(schemas.map(nameOf).sort());
    const { ExecuteActivity: work, ...others } = Object.fromEntries(
      Object.keys(MESSAGE_SCHEMAS).map((message) => [message, topicsOf(message)]),
    );
    expect(work).toEqual(['lanes.cpu', 'lanes.gpu']);
    expect(Object.entries(others).filter(([, carriers]) => carriers.length !== 1)).toEqual([]);
    expect(topics.flatMap(([, { messages }]) => messages.filter((message) => !(message in MESSAGE_SCHEMAS)))).toEqual(
      [],
    );
  });

  it('of one workflow are on equally many partitions everywhere, so that one orchestrator owns them together', () => {
    const partitions = (['orchestrator.commands', 'activities.events'] as const).map(
      (topic) => TOPICS[topic].partitions,
    );
    expect(partitions).toEqual([WORKFLOW_PARTITIONS, WORKFLOW_PARTITIONS]);
  });
});

describe('the messages of earlier releases', () => {
  it('are kept: every release’s schemas, numbered without gaps', () => {
    const numbers = [...new Set(released.map((path) => Number(path.split('/')[3])))].sort((a, b) => a - b);
    expect(numbers.length).toBeGreaterThan(0);
    expect(numbers).toEqual(numbers.map((_, at) => at + 1));
    expect(released.length).toBeGreaterThan(10);
  });

  it.each(released)('%s is understood by this release, and an event of this release by that one', (path) => {
    const message = nameOf(path);
    const current = MESSAGE_SCHEMAS[message as MessageType] as string | undefined;
    // A message that was released may still lie in a topic: it is never removed.
    expect(current).toBeDefined();
    for (const topic of topicsOf(message)) {
      const { compatibility } = TOPICS[topic as keyof typeof TOPICS];
      expect(incompatibilities(read(path), current ?? '', compatibility)).toEqual([]);
    }
  });
});

describe('a change of a schema', () => {
  const schema = (fields: object[]): string => JSON.stringify({ type: 'record', name: 'M', fields });
  const id = { name: 'id', type: 'string' };
  const optional = { name: 'note', type: ['null', 'string'], default: null };

  it('that adds a field with a default fits both kinds of topics', () => {
    expect(incompatibilities(schema([id]), schema([id, optional]), 'FULL_TRANSITIVE')).toEqual([]);
    expect(incompatibilities(schema([id]), schema([id, optional]), 'BACKWARD_TRANSITIVE')).toEqual([]);
  });

  it('that adds a field without default is refused for both', () => {
    const change = [schema([id]), schema([id, { name: 'step', type: 'int' }])] as const;
    expect(incompatibilities(...change, 'BACKWARD_TRANSITIVE')).toHaveLength(1);
    expect(incompatibilities(...change, 'FULL_TRANSITIVE')).toHaveLength(1);
  });

  it('that removes a field without default fits a command and is refused for an event', () => {
    const change = [schema([id, { name: 'step', type: 'int' }]), schema([id])] as const;
    expect(incompatibilities(...change, 'BACKWARD_TRANSITIVE')).toEqual([]);
    expect(incompatibilities(...change, 'FULL_TRANSITIVE')).toHaveLength(1);
  });

  it('that changes a type or renames a field is refused', () => {
    const number = schema([{ name: 'id', type: 'int' }]);
    const renamed = schema([{ name: 'key', type: 'string' }]);
    for (const current of [number, renamed])
      expect(incompatibilities(schema([id]), current, 'BACKWARD_TRANSITIVE')).not.toEqual([]);
  });

  it('that brings in another union is found wherever it hides', () => {
    expect(wrongUnions(JSON.parse(schema([id, optional])))).toEqual([]);
    expect(
      wrongUnions(JSON.parse(schema([{ name: 'a', type: { type: 'array', items: ['string', 'null'] } }]))),
    ).toEqual(['/a/type/items']);
    expect(wrongUnions(JSON.parse(schema([{ name: 'a', type: ['null', 'int', 'string'] }])))).toEqual(['/a/type']);
  });
});
