import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { decodeMessage, type Message } from '#lib/contracts/envelope.ts';
import type { Harness } from './gateway-harness.ts';

let readers = 0;

/** Every message of a topic so far, in order. */
async function messagesOn({ bus }: Harness, topic: string): Promise<Message[]> {
  const subscription = await bus.subscribe({ groupId: `reader-${readers++}`, topics: [topic], from: 'beginning' });
  try {
    const all: Message[] = [];
    for (;;) {
      const received = await subscription.poll({ maxMessages: 1_000, maxWaitMs: 200 });
      if (received.length === 0) return all;
      for (const message of received) {
        const decoded = decodeMessage(singleObjectCodec(), message);
        if (!decoded.ok) throw new Error(decoded.reason);
        all.push(decoded.message);
      }
    }
  } finally {
    await subscription.close();
  }
}

/** Commands for one workflow, in order. */
export const commandsFor = async (gateway: Harness, workflowId: string): Promise<Message[]> =>
  (await messagesOn(gateway, 'orchestrator.commands')).filter((message) => message.key === workflowId);
