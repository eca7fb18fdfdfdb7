import { expect } from 'vitest';
import { deadLetter } from '#lib/contracts/envelope.ts';
import type { OutgoingMessage, ReceivedMessage } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { partitionOf } from '#lib/kernel/partition.ts';
import type { Database } from '#lib/postgres/database.ts';
import { dlq, listed } from './dlq-command.ts';
import { startCommand, startEngine, startWorker } from './engine-harness.ts';
import { eventually } from './eventually.ts';
import type { Place } from './place.ts';

const ok = async (): Promise<null> => null;

/** A letter about a message that some consumer could not process; `offset` makes it one of its own. */
export function letterAbout(
  codec: Codec,
  message: OutgoingMessage,
  offset: number,
  change: Partial<ReceivedMessage> = {},
): OutgoingMessage {
  const { topic, key, headers, value } = message;
  const received = { topic, partition: partitionOf(key, 8), offset, key, headers, value, ...change };
  return deadLetter(codec, received, { code: 'UnknownSchema', reason: 'not known then' }, 'orchestrator', Date.now());
}

const startsOf = async (database: Database, id: string): Promise<number> =>
  (
    await database.query<{ n: number }>(
      `select count(*)::int as n from events where workflow_id = $1 and type = 'WorkflowStarted'`,
      [id],
    )
  ).rows[0]?.n ?? 0;

const stateOf = async (database: Database, id: string): Promise<string | undefined> =>
  (await database.query<{ status: string }>('select status from workflows where workflow_id = $1', [id])).rows[0]
    ?.status;

/**
 * What an operator does, by the command alone: garbage that a real consumer put aside is listed, shown and discarded; a command that could not be
 * read then is replayed and carried out; one that had come through meanwhile is replayed and changes nothing; what is settled stays settled.
 */
export async function deadLetterStory(place: Place, database: Database): Promise<void> {
  const engine = await startEngine(place);
  const worker = await startWorker(place, { first: ok, second: ok, third: ok });
  const { bus, codec } = engine;
  try {
    // 1. Garbage on its way to the orchestrator, with a credential that nobody shall see.
    const garbage = startCommand('wf-dlq-garbage', 'three_steps', { value: 1 }, 1, codec);
    const headers = { ...garbage.headers, authorization: 'Bearer ty_secret' };
    await bus.publish([{ ...garbage, headers, value: Buffer.from('not\u0000 avro \u001b[31m') }]);
    const [letter] = await eventually(async () => (await listed(place)).length === 1 && listed(place), {
      withinMs: 60_000,
      everyMs: 500,
    });
    expect(letter).toMatchObject({ state: 'open', topic: 'orchestrator.commands', code: 'UndecodableMessage' });
    const id = String(letter?.id);
    const shown = await dlq(place, 'show', id);
    expect(shown.stdout).toContain('6e 6f 74 00 20 61 76 72 6f');
    expect(shown.stdout).toContain('|not. avro .[31m|');
    expect(shown.stdout).toContain('cannot be read now: UndecodableMessage');
    expect(shown.stdout).toMatch(/header authorization +\[redacted\]/);
    for (const hidden of ['ty_secret', '\u001b', '\u0000']) expect(shown.stdout).not.toContain(hidden);
    await expect(dlq(place, 'discard', id, '--reason', 'a test', '--by', 'anna')).resolves.toMatchObject({ code: 0 });
    await expect(listed(place)).resolves.toEqual([]);

    // 2. Two commands that were not understood then; the second came through by another way meanwhile.
    const late = startCommand('wf-dlq-late', 'three_steps', { value: 1 }, 1, codec);
    const twice = startCommand('wf-dlq-twice', 'three_steps', { value: 1 }, 1, codec);
    await bus.publish([letterAbout(codec, late, 1), letterAbout(codec, twice, 2), twice]);
    await eventually(async () => expect(await stateOf(database, 'wf-dlq-twice')).toBe('done'), { withinMs: 30_000 });
    await expect(stateOf(database, 'wf-dlq-late')).resolves.toBeUndefined();
    const open = await listed(place, '--code', 'UnknownSchema');
    expect(open.map(({ partition }) => partition)).toEqual([late, twice].map(({ key }) => partitionOf(key, 8)));
    const decoded = await dlq(place, 'show', String(open[0]?.id), '--json');
    expect(JSON.parse(decoded.stdout)).toMatchObject({
      reading: { ok: true, type: 'StartWorkflow', payload: { workflowId: 'wf-dlq-late' } },
    });
    const replayed = await dlq(place, 'replay', '--all', '--code', 'UnknownSchema', '--by', 'anna');
    expect(replayed).toMatchObject({ code: 0, stdout: expect.stringContaining('2 of 2 replayed') });
    await eventually(async () => expect(await stateOf(database, 'wf-dlq-late')).toBe('done'), { withinMs: 30_000 });
    // A third workflow on the partition of the second: once it is done, the repetition before it has been seen.
    const after = {
      ...startCommand('wf-dlq-after', 'three_steps', { value: 1 }, 1, codec),
      partition: partitionOf(twice.key, 8),
    };
    await bus.publish([after]);
    await eventually(async () => expect(await stateOf(database, 'wf-dlq-after')).toBe('done'), { withinMs: 30_000 });
    expect(await startsOf(database, 'wf-dlq-late')).toBe(1);
    expect(await startsOf(database, 'wf-dlq-twice')).toBe(1);

    // 3. What is settled stays so.
    await expect(listed(place)).resolves.toEqual([]);
    const all = await listed(place, '--all');
    expect(all.map(({ state, settledBy, settledReason }) => [state, settledBy, settledReason])).toEqual([
      ['discarded', 'anna', 'a test'],
      ['replayed', 'anna', null],
      ['replayed', 'anna', null],
    ]);
    const again = await dlq(place, 'replay', String(open[0]?.id));
    expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/StateConflict: .*replayed at .* by anna/) });
  } finally {
    await worker.close();
    await engine.close();
  }
}
