import { Parser } from '@asyncapi/parser';
import avro from 'avsc';
import { beforeAll, describe, expect, it } from 'vitest';
import { MESSAGE_SCHEMAS } from '#lib/contracts/generated/messages.ts';
import { type MessageType, type TopicDeclaration, TOPICS } from '#lib/contracts/topics.ts';
import { generateAsyncapi } from '../../scripts/contracts/asyncapi.ts';
import { read } from './source-tree.ts';

const AVRO = 'application/vnd.apache.avro;version=1.9.0';
const topics = Object.entries(TOPICS) as [string, TopicDeclaration][];
const { version } = JSON.parse(read('package.json')) as { version: string };

/** The parser knows JSON Schema; Avro is ours to read. It calls `parse` only for documents of version 3. */
function parser(): Parser {
  const made = new Parser();
  made.registerSchemaParser({
    getMimeTypes: () => [AVRO],
    validate: () => [],
    parse: ({ data }) => {
      avro.Type.forSchema(data as avro.Schema);
      return data as Record<string, unknown>;
    },
  });
  return made;
}

type Parsed = Awaited<ReturnType<Parser['parse']>>;
/** Severity 0 is an error, as in the language server protocol. */
const errors = ({ diagnostics }: Parsed): string[] =>
  diagnostics
    .filter(({ severity }: { severity: number }) => severity === 0)
    .map(({ message, path }) => `${path.join('/')}: ${message}`);

describe('docs/asyncapi.yaml', () => {
  let text: string;
  let parsed: Parsed;
  beforeAll(async () => {
    text = read('docs/asyncapi.yaml');
    parsed = await parser().parse(text);
  });

  it('is generated: the committed file equals a fresh generation (else: npm run generate)', () => {
    const isFresh = text === generateAsyncapi(version);
    expect(isFresh).toBe(true);
  });

  it('is understood by the parser of AsyncAPI without an error', () => {
    expect(errors(parsed)).toEqual([]);
    expect(parsed.document?.version()).toBe('3.0.0');
  });

  it('has a channel for every topic, with its messages, partitions and retention', () => {
    const channels = parsed.document?.channels().all() ?? [];
    const described = channels.map((channel) => {
      const kafka = channel.bindings().get('kafka')?.value<Record<string, unknown>>();
      const configuration = kafka?.['topicConfiguration'] as Record<string, unknown> | undefined;
      return {
        address: channel.address(),
        messages: channel
          .messages()
          .all()
          .map((message) => message.name()),
        partitions: kafka?.['partitions'],
        retentionMs: configuration?.['retention.ms'],
      };
    });
    expect(described).toEqual(
      topics.map(([topic, { messages, partitions, retentionMs }]) => ({
        address: `{prefix}${topic}`,
        messages,
        partitions,
        retentionMs,
      })),
    );
  });

  it('shows every message with the Avro schema that is registered for it', () => {
    const messages = parsed.document?.components().messages().all() ?? [];
    expect(messages.map((message) => message.id()).sort()).toEqual(Object.keys(MESSAGE_SCHEMAS).sort());
    for (const message of messages) {
      expect(message.schemaFormat()).toBe(AVRO);
      const { name, namespace, fields } = JSON.parse(MESSAGE_SCHEMAS[message.id() as MessageType]) as {
        name: string;
        namespace: string;
        fields: unknown[];
      };
      expect(message.payload()?.json()).toMatchObject({ schema: { type: 'record', name, namespace, fields } });
      expect(message.headers()?.properties()?.['ce_type']?.json()).toMatchObject({ const: name });
    }
  });

  it('gives other systems one direction on a public topic, and marks what is internal', () => {
    const operations = parsed.document?.operations().all() ?? [];
    const actionsOf = (topic: string): string[] =>
      operations.filter((operation) => operation.id()?.endsWith(`.${topic}`)).map((operation) => operation.action());
    for (const [topic, declaration] of topics) {
      const tags = parsed.document?.channels().get(topic)?.json<{ tags: unknown }>()?.tags;
      expect(tags).toEqual([{ name: declaration.public === undefined ? 'internal' : 'public' }]);
      expect(actionsOf(topic)).toEqual(declaration.public === undefined ? ['send', 'receive'] : [declaration.public]);
    }
    expect(topics.filter(([, { public: direction }]) => direction !== undefined).map(([topic]) => topic)).toEqual(
      expect.arrayContaining(['jobs.requests', 'jobs.events', 'production.observations']),
    );
  });

  it('asks for a credential in a request for a job, and in no other message', () => {
    const messages = parsed.document?.components().messages().all() ?? [];
    const asking = messages.filter((message) => message.headers()?.properties()?.['authorization'] !== undefined);
    expect(asking.map((message) => message.id())).toEqual(['JobRequested']);
    expect(asking[0]?.headers()?.required()).toContain('authorization');
  });
});

describe('the parser of AsyncAPI', () => {
  it.each([
    ['a message that is not there', '#/components/messages/JobAccepted', '#/components/messages/JobAbsent'],
    ['an address that is no text', 'address: "{prefix}jobs.events"', 'address: 7'],
    ['a payload that is no Avro schema', 'type: boolean', 'type: truth'],
  ])('refuses %s: the test above can fail', async (_, right, wrong) => {
    const text = read('docs/asyncapi.yaml');
    const changed = text.replace(right, wrong);
    expect(changed).not.toBe(text);
    expect(errors(await parser().parse(changed))).not.toEqual([]);
  });
});
