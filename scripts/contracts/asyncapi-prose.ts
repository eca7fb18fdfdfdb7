import { fileURLToPath } from 'node:url';

/** What a reader of the contract needs besides the lists: how a record is framed, who is trusted, what may come twice. */
export const CONTRACT_DESCRIPTION = `Generated from \`lib/contracts/topics.ts\` and \`schemas/avro\` by \`npm run generate\`: do not edit.

Trainyard runs model-training jobs. Another system submits a job by producing **one \`JobRequested\` record to \`jobs.requests\`** and follows
it on \`jobs.events\`. Channels tagged \`public\` are the contract with other systems. Those tagged \`internal\` carry what Trainyard's own
processes tell each other: they are listed so that access to them can be denied, and may change with any release. Operations are named from
Trainyard's point of view: \`receive\` is what another system produces.

## Framing

The value of a record is Confluent's wire format: a byte \`00\`, the id of the writer's schema in the schema registry (4 bytes, big endian),
and the Avro binary body. The subject of a message is its full record name, e.g. \`trainyard.v1.JobRequested\`, whatever topic it travels on
(RecordNameStrategy). Ids differ from registry to registry and have gaps: look them up
(\`POST <registry>/subjects/trainyard.v1.JobRequested\` with the schema), never write them down. The migration step of a deploy (\`npm run migrate\`) registers schemas
and creates topics; a producer registers nothing. A record is at most 1 MiB.

The key of a record is UTF-8 text and decides its partition, and so its order; what it is, is said at each channel. Headers are UTF-8 text and
follow CloudEvents' binary binding for Kafka. \`ce_id\` and \`ce_type\` are required: a record without them, or one whose bytes do not decode,
goes to \`trainyard.dlq\` and is not answered.

## Trust

The broker's login (SASL) and ACLs decide who may produce and consume. They do not say who asks for a job: the header
\`authorization: Bearer ty_...\` of a \`JobRequested\` does. It is an API key, the same as for REST; its project and its role (\`submitter\` or higher) are
what counts, and a key of one project cannot act in another. A record without a valid key is answered by \`JobRejected\` with the code \`Unauthenticated\`.

**Who can read \`jobs.requests\` can read the keys in it**, and so can who reads \`trainyard.dlq\`, where the headers of unreadable records are kept for replay. Let
only producers write \`jobs.requests\`, only the gateway read it, only operators read \`trainyard.dlq\`; use TLS; give each producer a key of its own with the role
\`submitter\`, and revoke it when it leaked (five seconds). \`jobs.events\` holds no keys, but what every project does: its readers see all projects.

## Delivery

At least once, in order for one key. A record may come twice: drop those whose \`ce_id\` you have seen. Trainyard does the same, and a
\`JobRequested\` is moreover protected by its \`idempotencyKey\`: the same key with the same content is the same job, however often and by whichever
door (REST too) it is asked for; with other content it is refused with \`IdempotencyConflict\`.

Every readable \`JobRequested\` is answered at least once on \`jobs.events\`: by \`JobAccepted\` or \`JobRejected\` whose \`requestId\` is the \`ce_id\` of the
request. Find your answer by \`requestId\` or \`idempotencyKey\`; from then on \`JobStatusChanged\` and \`JobFinished\` name the job by \`jobId\`. Codes of
refusals and failures are those of \`docs/errors.md\`. Read \`jobs.events\` from a position taken before the request is sent, or the answer may have passed.
The statuses of a job come in order. \`JobAccepted\` is written by another process than they are: on a quick system it may come after the first of them. A
repeated request is answered again; what had been said about its job until then is not. Complete producers in Node and Python: \`examples/\`.

## Change

Fields are added with a default and never renamed or removed. Subjects of events are FULL_TRANSITIVE: older and newer readers understand them.
Subjects of commands are BACKWARD_TRANSITIVE: newer readers understand older writers. Ignore message types and fields that you do not know.
`;

/** Headers of every record. */
export const ENVELOPE_HEADERS = {
  ce_specversion: { type: 'string', const: '1.0', description: 'Version of CloudEvents.' },
  ce_id: {
    type: 'string',
    minLength: 1,
    description: 'Dedupe id: the same id is the same message. Choose a UUID, and send a repetition under the same one.',
  },
  ce_type: { type: 'string', description: 'Name of the message, as the schema has it.' },
  ce_source: { type: 'string', description: 'Who wrote it, e.g. `/trainyard/gateway`, `/my-system`.' },
  ce_subject: { type: 'string', description: 'The key of the record.' },
  ce_time: { type: 'string', format: 'date-time', description: 'When it was written (RFC 3339).' },
  traceparent: { type: 'string', description: 'W3C trace context, when there is one.' },
} as const;

export const AUTHORIZATION_HEADER = {
  type: 'string',
  pattern: '^[Bb][Ee][Aa][Rr][Ee][Rr] ty_[A-Za-z0-9_-]{43}$',
  description: 'API key of a `submitter` or higher of the project. A secret.',
} as const;

/** Where the committed document lies. */
export const ASYNCAPI_FILE = fileURLToPath(new URL('../../docs/asyncapi.yaml', import.meta.url));
