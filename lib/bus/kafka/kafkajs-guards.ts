import { createRequire } from 'node:module';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import kafkajs from 'kafkajs';

const require = createRequire(import.meta.url);

interface RequestQueue {
  readonly pending: readonly unknown[];
  scheduleCheckPendingRequests: (this: RequestQueue) => void;
}

interface JoinRequest {
  readonly memberId?: string;
  readonly groupProtocols: readonly { readonly groupInstanceId?: string }[];
}

interface MemberRequest {
  readonly memberId: string;
}

/** The methods of kafkajs's Broker that speak for a member of a group. */
interface BrokerPrototype {
  lookupRequest(apiKey: number, definition: unknown): (parameters: object) => unknown;
  joinGroup: (this: BrokerPrototype, request: JoinRequest) => Promise<{ readonly memberId: string }>;
  syncGroup: (this: BrokerPrototype, request: MemberRequest) => Promise<unknown>;
  heartbeat: (this: BrokerPrototype, request: MemberRequest) => Promise<unknown>;
  leaveGroup: (this: BrokerPrototype, request: MemberRequest) => Promise<unknown>;
}

/** kafkajs's loop of one consumer. */
interface RunnerPrototype {
  readonly running: boolean;
  readonly consumerGroup: { commitOffsets(offsets: unknown): Promise<void> };
  commitOffsets(offsets: unknown): Promise<void>;
}

/** Marks a prototype that is guarded already: several buses live in one process. */
const GUARDED = Symbol.for('trainyard.kafkajs.guarded');

/** Members of this process that have a name: id by which the broker knows them -> group.instance.id. Bounded by the groups of a process. */
const instances = new Map<string, string>();

/**
 * What kafkajs 2.2.4 (pinned: these are its internals) lacks. Call it before the first client; further calls change nothing.
 *
 * - An idle client re-arms a timer of one millisecond for ever on Node 24 (#1704, #1751): 5 % of a core and a warning; measured
 *   0.4 % with the guard.
 * - Static membership (KIP-345): its requests can carry a `group.instance.id`, its consumer never sends one. A consumer whose
 *   assigner puts `groupInstanceId` into its protocol (numbered-assigner.ts) gets it into every request of its member, so that a
 *   restarted process takes its partitions back at once instead of after the session of the former one.
 * - A commit of positions is tried once, for the generation in which it was asked for. kafkajs tries it again for 20 s, also after the consumer has
 *   joined a later generation, and there it moves another member's positions back; and it says nothing of one it does not even send.
 * - zstd, by Node's own.
 */
export function guardKafkajs(): void {
  kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
    compress: async ({ buffer }: { buffer: Buffer }) => zstdCompressSync(buffer),
    decompress: async (buffer: Buffer) => zstdDecompressSync(buffer),
  });
  guardOnce(require('kafkajs/src/network/requestQueue'), 'scheduleCheckPendingRequests', guardRequestQueue);
  guardOnce(require('kafkajs/src/broker'), 'joinGroup', nameMembers);
  guardOnce(require('kafkajs/src/consumer/runner'), 'commitOffsets', commitOnce);
}

function guardOnce<T extends object>(type: { prototype: T }, method: keyof T, guard: (prototype: T) => void): void {
  const prototype = type.prototype as T & { [GUARDED]?: boolean };
  if (prototype[GUARDED] === true) return;
  if (typeof prototype[method] !== 'function')
    throw new Error(`kafkajs has no ${String(method)} any more: review kafkajs-guards.ts`);
  guard(prototype);
  prototype[GUARDED] = true;
}

function guardRequestQueue(prototype: RequestQueue): void {
  const original = prototype.scheduleCheckPendingRequests;
  prototype.scheduleCheckPendingRequests = function scheduleCheckPendingRequests(this: RequestQueue): void {
    if (this.pending.length > 0) original.call(this);
  };
}

function commitOnce(prototype: RunnerPrototype): void {
  prototype.commitOffsets = async function once(this: RunnerPrototype, offsets): Promise<void> {
    if (!this.running) throw new kafkajs.KafkaJSError('the consumer is being stopped or replaced');
    await this.consumerGroup.commitOffsets(offsets);
  };
}

/** kafkajs's broker builds its requests from named members and drops ours: they are put back where the request is encoded. */
function nameMembers(prototype: BrokerPrototype): void {
  const { joinGroup, syncGroup, heartbeat, leaveGroup } = prototype;
  prototype.joinGroup = async function named(this: BrokerPrototype, request) {
    const instance = request.groupProtocols.find((protocol) => protocol.groupInstanceId !== undefined)?.groupInstanceId;
    const response = await joinGroup.call(withInstance(this, instance), request);
    if (request.memberId !== undefined) instances.delete(request.memberId);
    if (instance !== undefined) instances.set(response.memberId, instance);
    return response;
  };
  prototype.syncGroup = function named(this: BrokerPrototype, request) {
    return syncGroup.call(withInstance(this, instances.get(request.memberId)), request);
  };
  prototype.heartbeat = function named(this: BrokerPrototype, request) {
    return heartbeat.call(withInstance(this, instances.get(request.memberId)), request);
  };
  prototype.leaveGroup = async function named(this: BrokerPrototype, request) {
    const response = await leaveGroup.call(withInstance(this, instances.get(request.memberId)), request);
    instances.delete(request.memberId);
    return response;
  };
}

/** The broker, with requests that carry the instance id. */
function withInstance(broker: BrokerPrototype, groupInstanceId: string | undefined): BrokerPrototype {
  if (groupInstanceId === undefined) return broker;
  return Object.create(broker, {
    lookupRequest: {
      value: (apiKey: number, definition: unknown) => {
        const request = broker.lookupRequest(apiKey, definition);
        return (parameters: object) => request({ ...parameters, groupInstanceId });
      },
    },
  }) as BrokerPrototype;
}
