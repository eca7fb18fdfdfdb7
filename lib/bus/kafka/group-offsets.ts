import { TrainyardError } from '#lib/kernel/errors.ts';
import type { LagRow, TopicPartition } from '../port.ts';
import type { KafkaAdmin, PartitionEnds } from './kafka-admin.ts';
import type { KafkaTopics } from './kafka-topics.ts';

export interface StartOffset extends TopicPartition {
  readonly offset: number;
  /** False: nobody of the group has committed here yet. */
  readonly committed: boolean;
}

/** Committed positions of a group; where it has none, the end of the partition that the group begins at. */
export async function startOffsets(
  admin: KafkaAdmin,
  topics: KafkaTopics,
  group: { readonly groupId: string; readonly from: 'beginning' | 'end' },
  partitions: readonly TopicPartition[],
): Promise<StartOffset[]> {
  if (partitions.length === 0) return [];
  const names = [...new Set(partitions.map((p) => topics.onWire(p.topic)))];
  const committed = await admin.committed(topics.onWire(group.groupId), names);
  const ends = new Map<string, Map<number, PartitionEnds>>();
  const starts: StartOffset[] = [];
  for (const { topic, partition } of partitions) {
    const wireTopic = topics.onWire(topic);
    const offset = committed.get(`${wireTopic}/${partition}`);
    if (offset !== undefined) {
      starts.push({ topic, partition, offset, committed: true });
      continue;
    }
    const ofTopic = ends.get(wireTopic) ?? (await admin.ends(wireTopic));
    ends.set(wireTopic, ofTopic);
    const end = ofTopic.get(partition);
    if (end === undefined)
      throw new TrainyardError('ServiceUnavailable', `Kafka does not know the ends of ${wireTopic}/${partition} yet`);
    starts.push({ topic, partition, offset: group.from === 'end' ? end.high : end.low, committed: false });
  }
  return starts;
}

/** Committed position and end of every partition that the group has a position in; topics of other platforms are left out. */
export async function groupLag(admin: KafkaAdmin, topics: KafkaTopics, groupId: string): Promise<LagRow[]> {
  const committed = await admin.committed(topics.onWire(groupId), null);
  const rows: LagRow[] = [];
  const ends = new Map<string, Map<number, PartitionEnds>>();
  for (const [key, nextOffset] of committed) {
    if (!key.startsWith(topics.prefix)) continue;
    const cut = key.lastIndexOf('/');
    const [wireTopic, partition] = [key.slice(0, cut), Number(key.slice(cut + 1))];
    const ofTopic = ends.get(wireTopic) ?? (await admin.ends(wireTopic));
    ends.set(wireTopic, ofTopic);
    const endOffset = ofTopic.get(partition)?.high ?? nextOffset;
    rows.push({ groupId, topic: topics.fromWire(wireTopic), partition, nextOffset, endOffset });
  }
  return rows.sort((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
}
