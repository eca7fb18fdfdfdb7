import kafkajs, { type GroupMember } from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { assignByNumber } from './numbered-assigner.ts';

const member = (memberId: string, topics: string[]): GroupMember => ({
  memberId,
  memberMetadata: kafkajs.AssignerProtocol.MemberMetadata.encode({ version: 1, topics, userData: Buffer.alloc(0) }),
});

const shares = (members: GroupMember[], counts: Record<string, number>) =>
  Object.fromEntries(
    assignByNumber(members, (topic) => Array.from({ length: counts[topic] ?? 0 }, (_, i) => i)).map((assigned) => [
      assigned.memberId,
      { ...kafkajs.AssignerProtocol.MemberAssignment.decode(assigned.memberAssignment)?.assignment },
    ]),
  );

describe('partitions by number', () => {
  it('of topics with equal counts go to the same member, whatever order the members come in', () => {
    const both = ['commands', 'events'];
    const expected = { a: { commands: [0, 2], events: [0, 2] }, b: { commands: [1, 3], events: [1, 3] } };
    expect(shares([member('a', both), member('b', both)], { commands: 4, events: 4 })).toEqual(expected);
    expect(shares([member('b', both), member('a', both)], { commands: 4, events: 4 })).toEqual(expected);
  });

  it('of a topic go only to members that subscribed to it', () => {
    const result = shares([member('old', ['commands']), member('new', ['commands', 'added'])], {
      commands: 2,
      added: 2,
    });
    expect(result).toEqual({ new: { commands: [0], added: [0, 1] }, old: { commands: [1] } });
  });

  it('leave a member without any when there are more members than partitions', () => {
    expect(shares([member('a', ['one']), member('b', ['one'])], { one: 1 })).toEqual({ a: { one: [0] }, b: {} });
  });
});
