import { decodeMessage } from '#lib/contracts/envelope.ts';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { type Command, type Environment, type OptionValues, UsageError } from '../command.ts';
import { PROFILE_OPTION } from '../start/profile.ts';
import { collectLetters } from './collect.ts';
import { letterJson, letterLine, letterText, positionOf, type Reading } from './letter-text.ts';
import { type LetterFilter, MAX_LISTED, type StoredLetter } from './letters.ts';
import { type Desk, openDesk, operator } from './open-desk.ts';
import { replayLetter } from './replay.ts';

/** Of a value in `show` without `--full`: some 64 lines. */
const SHOWN_BYTES = 1_024;

/** `trainyard dlq`: messages that could not be processed, and what to do with them. */
export const dlqCommand: Command = {
  name: 'dlq',
  summary: 'shows the dead letters (messages that could not be processed), sends them again, or puts them aside',
  operands: ['list', 'show <id>', 'replay <id>', 'replay --all', 'discard <id> --reason <text>'],
  options: [
    { name: 'topic', value: '<name>', summary: 'list, replay --all: only of this topic' },
    { name: 'code', value: '<code>', summary: 'list, replay --all: only with this code' },
    {
      name: 'since',
      value: '<time>',
      summary: 'list, replay --all: only since then (2026-11-26T06:00:00Z, or 30m, 12h, 7d ago)',
    },
    { name: 'all', summary: 'list: settled ones too; replay: every open one that the options above select' },
    { name: 'full', summary: 'show: all bytes' },
    { name: 'reason', value: '<text>', summary: 'discard: why, for the record' },
    { name: 'by', value: '<name>', summary: 'replay, discard: who, for the record; default: your account' },
    { name: 'json', summary: 'list, show: JSON instead of lines' },
    {
      name: 'home',
      value: '<folder>',
      summary: 'the platform on this machine (default without DATABASE_URL: TRAINYARD_HOME)',
    },
    PROFILE_OPTION,
  ],
  run,
};

async function run(options: OptionValues, environment: Environment): Promise<number> {
  const action = actionOf(options);
  const desk = await openDesk(options, environment);
  try {
    const lost = await collectLetters(desk);
    if (lost > 0)
      complain(`${lost} letters are gone: they were older than the topic keeps them before anybody read them`);
    return await action(desk);
  } finally {
    await desk.close();
  }
}

/** What is asked for. Throws `UsageError` before anything is opened. */
function actionOf(options: OptionValues): (desk: Desk) => Promise<number> {
  const [verb, ...operands] = options.operands;
  const filter: LetterFilter = {
    topic: options.text('topic'),
    code: options.text('code'),
    sinceMs: sinceMs(options.text('since'), Date.now()),
  };
  switch (verb) {
    case 'list':
      idOf(verb, operands, false);
      return (desk) => list(desk, { ...filter, all: options.flag('all') }, options.flag('json'));
    case 'show': {
      const id = idOf(verb, operands, true);
      return (desk) => show(desk, id, options);
    }
    case 'replay': {
      const by = operator(options);
      if (options.flag('all')) {
        idOf('replay --all', operands, false);
        return (desk) => replayAll(desk, filter, by);
      }
      const id = idOf(verb, operands, true);
      return async (desk) => tell(`replayed ${id} to ${positionText(await replayLetter(desk, id, by))}`);
    }
    case 'discard': {
      const id = idOf(verb, operands, true);
      const reason = options.text('reason') ?? '';
      if (reason.trim() === '') throw new UsageError('discard needs --reason <text>: why nobody needs the message');
      return async ({ letters }) => {
        await letters.settle(id, { state: 'discarded', by: operator(options), reason }, async () => undefined);
        return tell(`discarded ${id}`);
      };
    }
    case undefined:
    default:
      throw new UsageError('dlq needs one of: list, show <id>, replay <id>, replay --all, discard <id>');
  }
}

async function list({ letters }: Desk, filter: LetterFilter, json: boolean): Promise<number> {
  const found = await letters.list(filter);
  if (json) return tell(JSON.stringify(found.map((stored) => letterJson(stored))));
  for (const stored of found) tell(letterLine(stored));
  if (found.length === 0) tell(filter.all === true ? 'no dead letters' : 'no open dead letters');
  if (found.length === MAX_LISTED) tell(`the first ${MAX_LISTED}; narrow it down with --topic, --code or --since`);
  return 0;
}

async function show({ codec, letters }: Desk, id: number, options: OptionValues): Promise<number> {
  const stored = await letters.get(id);
  await codec.prepare([stored.letter.value]);
  const decoded = decodeMessage(codec, stored.letter);
  const reading: Reading = decoded.ok
    ? { ok: true, type: decoded.message.type, payload: decoded.message.payload }
    : decoded;
  if (options.flag('json')) return tell(JSON.stringify(letterJson(stored, reading)));
  return tell(letterText(stored, reading, options.flag('full') ? Number.POSITIVE_INFINITY : SHOWN_BYTES));
}

/** Each by itself: one that cannot be sent again keeps back no other. Exit code 1 when there was one. */
async function replayAll(desk: Desk, filter: LetterFilter, by: string): Promise<number> {
  const found = await desk.letters.list(filter);
  let failed = 0;
  for (const { id } of found) {
    try {
      tell(`replayed ${id} to ${positionText(await replayLetter(desk, id, by))}`);
    } catch (error) {
      if (!(error instanceof TrainyardError) || error.retryable) throw error;
      failed++;
      complain(messageOf(error));
    }
  }
  tell(`${found.length - failed} of ${found.length} replayed`);
  return failed === 0 ? 0 : 1;
}

const positionText = (stored: StoredLetter): string => positionOf(stored).replace(/\/\d+$/, '');

function idOf(verb: string, operands: readonly string[], needed: true): number;
function idOf(verb: string, operands: readonly string[], needed: false): null;
function idOf(verb: string, operands: readonly string[], needed: boolean): number | null {
  const [id, ...more] = operands;
  if (more.length > 0 || (!needed && id !== undefined))
    throw new UsageError(`dlq ${verb} takes ${needed ? 'one id' : 'no id'}`);
  if (!needed) return null;
  if (id === undefined || !/^[1-9]\d{0,14}$/.test(id))
    throw new UsageError(
      `dlq ${verb} needs the id of a letter, a number that \`dlq list\` shows${id === undefined ? '' : `; not ${id}`}`,
    );
  return Number(id);
}

const UNIT_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function sinceMs(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  const [, count, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  if (count !== undefined) return nowMs - Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new UsageError(`--since must be a time such as 2026-11-26T06:00:00Z, or 30m, 12h, 7d; not ${text}`);
  return time;
}

function tell(line: string): 0 {
  process.stdout.write(`${line.trimEnd()}\n`);
  return 0;
}

function complain(line: string): void {
  process.stderr.write(`trainyard: ${line}\n`);
}
