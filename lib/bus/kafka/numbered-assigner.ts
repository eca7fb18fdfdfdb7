import kafkajs, { type GroupMember, type GroupMemberAssignment, type PartitionAssigner } from 'kafkajs';

const NAME = 'trainyard-numbered';
const VERSION = 1;

/**
 * Gives partition p of every topic to member p modulo their number, in the order of their ids: with equal partition counts, what
 * belongs together (commands and events of a workflow) is with one member (BUS-5). A member that did not subscribe to a topic gets
 * none of it. `instanceId` makes the member a static one (kafkajs-guards.ts).
 */
export function numberedAssigner(instanceId: string | null): PartitionAssigner {
  return ({ cluster }) => ({
    name: NAME,
    version: VERSION,
    assign: async ({ members }) =>
      assignByNumber(members, (topic) => cluster.findTopicPartitionMetadata(topic).map((p) => p.partitionId)),
    protocol: ({ topics }) => ({
      name: NAME,
      metadata: kafkajs.AssignerProtocol.MemberMetadata.encode({
        version: VERSION,
        topics,
        userData: Buffer.alloc(0),
      }),
      ...(instanceId === null ? {} : { groupInstanceId: instanceId }),
    }),
  });
}

/** Pure; members of one group may subscribe to different topics while a new release is rolled out. */
export function assignByNumber(
  members: readonly GroupMember[],
  partitionsOf: (topic: string) => readonly number[],
): GroupMemberAssignment[] {
  const subscribed = members
    .map(({ memberId, memberMetadata }) => ({
      memberId,
      topics: kafkajs.AssignerProtocol.MemberMetadata.decode(memberMetadata)?.topics ?? [],
      assignment: {} as Record<string, number[]>,
    }))
    .sort((a, b) => (a.memberId < b.memberId ? -1 : 1));
  for (const topic of new Set(subscribed.flatMap(({ topics }) => topics))) {
    const readers = subscribed.filter(({ topics }) => topics.includes(topic));
    for (const partition of partitionsOf(topic)) {
      const reader = readers[partition % readers.length];
      if (reader !== undefined) (reader.assignment[topic] ??= []).push(partition);
    }
  }
  return subscribed.map(({ memberId, assignment }) => ({
    memberId,
    memberAssignment: kafkajs.AssignerProtocol.MemberAssignment.encode({
      version: VERSION,
      assignment,
      userData: Buffer.alloc(0),
    }),
  }));
}
