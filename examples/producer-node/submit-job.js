// Submits a training job to Trainyard by one Kafka record and follows it on jobs.events until it is finished.
// The contract: docs/asyncapi.yaml. Variables: README.md.
// Exit codes: 0 COMPLETED, 1 finished otherwise or an error, 2 rejected.
// oxlint-disable no-restricted-properties -- a program of its own, told by its environment
import { randomUUID } from 'node:crypto';
import { Kafka, logLevel, Partitioners } from 'kafkajs';
import { decode, encode } from './avro.js';

const { BROKERS, SCHEMA_REGISTRY_URL, API_KEY, PROJECT, DATASET } = required();
const PREFIX = process.env.TOPIC_PREFIX ?? '';
const REQUESTS = `${PREFIX}jobs.requests`;
const EVENTS = `${PREFIX}jobs.events`;
const requestId = randomUUID();
// The same key with the same content is the same job, however often it is asked for. Take one that your system can find again.
const idempotencyKey = process.env.IDEMPOTENCY_KEY ?? `example-${requestId}`;

// For a cluster with TLS and a login add `ssl: true, sasl: { mechanism: 'scram-sha-512', username, password }`.
const kafka = new Kafka({ clientId: 'trainyard-example', brokers: BROKERS.split(','), logLevel: logLevel.ERROR });
const admin = kafka.admin();
const producer = kafka.producer({
  idempotent: true,
  maxInFlightRequests: 1,
  createPartitioner: Partitioners.DefaultPartitioner,
});
const groupId = `${PREFIX}trainyard-example-${requestId}`;
const consumer = kafka.consumer({ groupId });

process.exitCode = await main();

async function main() {
  await Promise.all([admin.connect(), producer.connect(), consumer.connect()]);
  try {
    // 1. Where jobs.events ends now: the answer comes behind it.
    const ends = await admin.fetchTopicOffsets(EVENTS);
    // 2. The request.
    const { id, schema } = await registry('subjects/trainyard.v1.JobRequested/versions/latest');
    await producer.send({ topic: REQUESTS, acks: -1, messages: [request(id, JSON.parse(schema))] });
    console.log(`sent         request ${requestId}, idempotency key ${idempotencyKey}`);
    // 3. What becomes of it.
    return await follow(ends);
  } finally {
    await Promise.all([consumer.disconnect(), producer.disconnect()]);
    await admin.deleteGroups([groupId]).catch(() => undefined);
    await admin.disconnect();
  }
}

function request(schemaId, schema) {
  const payload = {
    project: PROJECT,
    idempotencyKey,
    jobType: 'fine_tune',
    specJson: JSON.stringify({
      dataset: { name: DATASET },
      base: { config: { layers: 1, heads: 2, embeddingSize: 32, contextLength: 32 } },
      method: 'full',
      model: { name: process.env.MODEL ?? 'from-another-system' },
      preprocessing: { vocabularySize: 300, validationFraction: 0.2 },
      hyperparameters: { maxSteps: 60, batchSize: 4, sequenceLength: 32, learningRate: 0.01 },
      evaluation: { suites: [{ suite: 'held_out_text', maxTokens: 512 }] },
    }),
    labels: { source: 'producer-node' },
  };
  return {
    key: PROJECT,
    headers: {
      ce_specversion: '1.0',
      ce_id: requestId,
      ce_type: 'JobRequested',
      ce_source: '/examples/producer-node',
      ce_subject: PROJECT,
      ce_time: new Date().toISOString(),
      authorization: `Bearer ${API_KEY}`,
    },
    value: framed(schemaId, encode(schema, payload)),
  };
}

/** Confluent's framing: a zero byte, the id of the schema (4 bytes, big endian), the body. */
function framed(schemaId, body) {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(schemaId, 1);
  return Buffer.concat([header, body]);
}

/** Reads jobs.events from `ends` on until the job is finished; returns the exit code. */
async function follow(ends) {
  let [resolve, reject] = [];
  const exitCode = new Promise((...both) => ([resolve, reject] = both));
  const seen = new Set();
  /** By job: what was said before we knew which one is ours. */
  const early = new Map();
  let jobId = null;
  const heard = (type, event) => {
    if (type === 'JobAccepted' && event.requestId === requestId) {
      jobId = event.jobId;
      console.log(`accepted     ${jobId}`);
      for (const [earlyType, earlyEvent] of early.get(jobId) ?? []) heard(earlyType, earlyEvent);
    } else if (type === 'JobRejected' && event.requestId === requestId) {
      console.log(`rejected     ${event.code}: ${event.message}`);
      for (const { pointer, message } of event.fields) console.log(`             ${pointer} ${message}`);
      resolve(2);
    } else if (jobId === null) {
      early.set(event.jobId, [...(early.get(event.jobId) ?? []), [type, event]]);
    } else if (event.jobId === jobId && type === 'JobStatusChanged') {
      console.log(`status       ${event.status}${event.step === null ? '' : ` ${event.step}`}`);
    } else if (event.jobId === jobId && type === 'JobFinished') {
      console.log(`finished     ${event.status} ${event.resultJson ?? event.errorJson ?? ''}`.trimEnd());
      resolve(event.status === 'COMPLETED' ? 0 : 1);
    }
  };
  consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
  await consumer.subscribe({ topic: EVENTS });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ message }) => {
      // At least once: a message may come twice, under the same ce_id.
      const id = String(message.headers.ce_id);
      if (seen.has(id)) return;
      seen.add(id);
      const schema = await schemaOf(message.value.readUInt32BE(1));
      heard(String(message.headers.ce_type), decode(schema, message.value.subarray(5)));
    },
  });
  for (const { partition, high } of ends) consumer.seek({ topic: EVENTS, partition, offset: high });
  return exitCode;
}

const schemas = new Map();

/** The schema that a message was written with, by the id in its framing. */
async function schemaOf(id) {
  if (!schemas.has(id)) schemas.set(id, JSON.parse((await registry(`schemas/ids/${id}`)).schema));
  return schemas.get(id);
}

async function registry(path) {
  const response = await fetch(`${SCHEMA_REGISTRY_URL.replace(/\/$/, '')}/${path}`);
  if (!response.ok)
    throw new Error(`the schema registry answers ${response.status} to ${path}: ${await response.text()}`);
  return response.json();
}

function required() {
  const names = ['BROKERS', 'SCHEMA_REGISTRY_URL', 'API_KEY', 'PROJECT', 'DATASET'];
  const missing = names.filter((name) => !process.env[name]);
  if (missing.length > 0) throw new Error(`set ${missing.join(', ')} (README.md)`);
  return process.env;
}
