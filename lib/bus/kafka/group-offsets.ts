import type { Admin } from 'kafkajs';
import type { LagRow, TopicPartition } from '../port.ts';
import type { KafkaTopics } from './kafka-topics.ts';

/** Offset of a partition without a commit, as the protocol says it. */
const NONE = -1;

export interface StartOffset extends TopicPartition {
  readonly offset: number;
  /** False: nobody of the group has committed here yet. */
  readonly committed: boolean;
}

/** Committed positions of a group: the committed one, or the end of the partition that the group begins at. */
export async function startOffsets(
  admin: Admin,
  topics: KafkaTopics,
  group: { readonly groupId: string; readonly from: 'beginning' | 'end' },
  partitions: readonly TopicPartition[],
): Promise<StartOffset[]> {
  if (partitions.length === 0) return [];
  const names = [...new Set(partitions.map((p) => p.topic))];
  const committed = await committedOffsets(admin, topics.onWire(group.groupId), names.map(topics.onWire));
  const rows: StartOffset[] = [];
  for (const { topic, partition } of partitions) {
    const offset = committed.get(`${topics.onWire(topic)}/${partition}`) ?? NONE;
    rows.push({ topic, partition, offset, committed: offset !== NONE });
  }
  const fresh = new Set(rows.filter((row) => !row.committed).map((row) => row.topic));
  const ends = new Map<string, { low: number; high: number }>();
  for (const topic of fresh)
    for (const { partition, low, high } of await admin.fetchTopicOffsets(topics.onWire(topic)))
      ends.set(`${topic}/${partition}`, { low: Number(low), high: Number(high) });
  return rows.map((row) => {
    if (row.committed) return row;
    const end = ends.get(`${row.topic}/${row.partition}`);
    return { ...row, offset: (group.from === 'end' ? end?.high : end?.low) ?? 0 };
  });
}

/** By `topic/partition` as on the wire; partitions without a commit are left out or `NONE`. */
async function committedOffsets(
  admin: Admin,
  groupId: string,
  wireTopics: readonly string[] | null,
): Promise<Map<string, number>> {
  const answer = await admin.fetchOffsets(wireTopics === null ? { groupId } : { groupId, topics: [...wireTopics] });
  return new Map(
    answer.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition, offset }): [string, number] => [`${topic}/${partition}`, Number(offset)]),
    ),
  );
}

/** Committed position and end of every partition that the group has a position in; topics of other platforms are left out. */
export async function groupLag(admin: Admin, topics: KafkaTopics, groupId: string): Promise<LagRow[]> {
  const committed = [...(await committedOffsets(admin, topics.onWire(groupId), null))].filter(
    ([key, offset]) => offset !== NONE && key.startsWith(topics.prefix),
  );
  const wireTopics = [...new Set(committed.map(([key]) => key.slice(0, key.lastIndexOf('/'))))];
  const ends = new Map<string, number>();
  for (const topic of wireTopics)
    for (const { partition, high } of await admin.fetchTopicOffsets(topic))
      ends.set(`${topic}/${partition}`, Number(high));
  return committed
    .map(([key, nextOffset]) => {
      const cut = key.lastIndexOf('/');
      return {
        groupId,
        topic: topics.fromWire(key.slice(0, cut)),
        partition: Number(key.slice(cut + 1)),
        nextOffset,
        endOffset: ends.get(key) ?? nextOffset,
      };
    })
    .sort((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
}
