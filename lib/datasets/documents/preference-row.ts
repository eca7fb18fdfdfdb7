import { answerText, type ChatMessage, promptText, readMessages, sameMessages, wrongOrder } from './conversation.ts';
import { normaliseText } from './normalisation.ts';

/** What can be wrong with a row by itself. */
export const ROW_FAULT = {
  malformed: 'malformed',
  wrongRoles: 'wrongRoles',
  promptsDiffer: 'promptsDiffer',
  emptyPrompt: 'emptyPrompt',
  emptyCompletion: 'emptyCompletion',
  equalPair: 'equalPair',
} as const;
export type RowFault = (typeof ROW_FAULT)[keyof typeof ROW_FAULT];

/** The shapes of TRL's preference datasets. */
export type PreferenceShape = 'explicit' | 'implicit' | 'explicit conversation' | 'implicit conversation';

/** A pair as text, normalised; both completions continue the prompt. */
export interface PreferencePair {
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
}

export type RowOutcome =
  | { readonly ok: true; readonly pair: PreferencePair; readonly shape: PreferenceShape }
  | { readonly ok: false; readonly fault: RowFault; readonly message: string };

type Refusal = Extract<RowOutcome, { ok: false }>;

/**
 * A row of a preference dataset; null for a line of white space. `prompt` may be absent: then the beginning that both completions share is
 * the prompt. All members are strings, or all are lists of messages. Further members are ignored.
 */
export function readPreferenceRow(line: string): RowOutcome | null {
  if (line.trim() === '') return null;
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch (error) {
    return refuse('malformed', `not JSON: ${shortened((error as SyntaxError).message)}`);
  }
  if (typeof row !== 'object' || row === null || Array.isArray(row)) return refuse('malformed', 'not a JSON object');
  const chosen = member(row, 'chosen');
  const rejected = member(row, 'rejected');
  // A column that other rows have and this one lacks is written as null.
  const prompt = member(row, 'prompt') ?? undefined;
  for (const [name, value] of Object.entries({ chosen, rejected }))
    if (value === undefined || value === null) return refuse('malformed', `"${name}" is missing`);
  if (
    typeof chosen === 'string' &&
    typeof rejected === 'string' &&
    (prompt === undefined || typeof prompt === 'string')
  )
    return textRow({ prompt, chosen, rejected });
  if (Array.isArray(chosen) && Array.isArray(rejected) && (prompt === undefined || Array.isArray(prompt)))
    return conversationRow({ prompt, chosen, rejected });
  return refuse('malformed', '"prompt", "chosen" and "rejected" are not all strings and not all lists of messages');
}

function textRow(row: { prompt: string | undefined; chosen: string; rejected: string }): RowOutcome {
  for (const [name, value] of Object.entries(row))
    if (value?.isWellFormed() === false) return refuse('malformed', `"${name}" holds half of a surrogate pair`);
  // Where a prompt and a completion meet, white space is the author's.
  const chosen = normaliseText(row.chosen).trimEnd();
  const rejected = normaliseText(row.rejected).trimEnd();
  if (row.prompt !== undefined) return judged({ prompt: normaliseText(row.prompt), chosen, rejected }, 'explicit');
  if (chosen === rejected) return refuse('equalPair', EQUAL);
  const cut = promptLength(chosen, rejected);
  const prompt = chosen.slice(0, cut);
  return judged({ prompt, chosen: chosen.slice(cut), rejected: rejected.slice(cut) }, 'implicit');
}

/**
 * Where the shared beginning of two different texts ends: before the white space before the first word in which they differ, so that no
 * word is cut; in a text without white space there, at the first difference.
 */
function promptLength(a: string, b: string): number {
  let end = 0;
  while (end < a.length && end < b.length && a[end] === b[end]) end++;
  let cut = end;
  if (!isBreak(a[end]) || !isBreak(b[end])) while (cut > 0 && !isSpace(a[cut - 1])) cut--;
  while (cut > 0 && isSpace(a[cut - 1])) cut--;
  if (cut > 0) return cut;
  // Not between the halves of a surrogate pair.
  return /[\uD800-\uDBFF]/.test(a[end - 1] ?? '') ? end - 1 : end;
}

const isSpace = (character: string | undefined): boolean => character !== undefined && character.trim() === '';
const isBreak = (character: string | undefined): boolean => character === undefined || isSpace(character);

function conversationRow(row: {
  prompt: readonly unknown[] | undefined;
  chosen: readonly unknown[];
  rejected: readonly unknown[];
}): RowOutcome {
  const read: Record<'prompt' | 'chosen' | 'rejected', ChatMessage[]> = { prompt: [], chosen: [], rejected: [] };
  for (const name of ['prompt', 'chosen', 'rejected'] as const) {
    const messages = readMessages(name, row[name] ?? []);
    if ('wrong' in messages) return refuse('malformed', messages.wrong);
    read[name] = messages;
  }
  const explicit = row.prompt !== undefined;
  const answers: string[] = [];
  for (const name of ['chosen', 'rejected'] as const) {
    const answer = read[name].at(-1);
    if (answer === undefined) return refuse('emptyCompletion', `"${name}" has no message`);
    if (answer.role !== 'assistant')
      return refuse('wrongRoles', `the last message of "${name}" is of the ${answer.role}, not of the assistant`);
    if (explicit && read[name].length > 1)
      return refuse('wrongRoles', `"${name}" has ${read[name].length} messages beside a "prompt", not one answer`);
    answers.push(answerText(answer));
  }
  const prompt = explicit ? read.prompt : read.chosen.slice(0, -1);
  if (!explicit && !sameMessages(prompt, read.rejected.slice(0, -1)))
    return refuse('promptsDiffer', 'the messages before the last one differ between "chosen" and "rejected"');
  if (prompt.length === 0 || prompt.some(({ content }) => content === ''))
    return refuse(
      'emptyPrompt',
      prompt.length === 0 ? 'the prompt has no message' : 'a message of the prompt is empty',
    );
  const wrong = wrongOrder(prompt);
  if (wrong !== null) return refuse('wrongRoles', wrong);
  const [chosen = '', rejected = ''] = answers;
  const shape = explicit ? 'explicit conversation' : 'implicit conversation';
  return judged({ prompt: promptText(prompt), chosen, rejected }, shape);
}

const EQUAL = '"chosen" and "rejected" are the same';

function judged(pair: PreferencePair, shape: PreferenceShape): RowOutcome {
  if (pair.prompt.trim() === '')
    return refuse('emptyPrompt', shape === 'implicit' ? 'the completions share no beginning' : '"prompt" is empty');
  for (const name of ['chosen', 'rejected'] as const)
    if (pair[name].trim() === '')
      return refuse(
        'emptyCompletion',
        `"${name}" is empty${shape === 'implicit' ? ' after the shared beginning' : ''}`,
      );
  if (pair.chosen === pair.rejected) return refuse('equalPair', EQUAL);
  return { ok: true, pair, shape };
}

const member = (row: object, name: string): unknown =>
  Object.hasOwn(row, name) ? (row as Record<string, unknown>)[name] : undefined;

const refuse = (fault: RowFault, message: string): Refusal => ({ ok: false, fault, message });

/** Parser messages quote the input; the report must stay small. */
const MAX_MESSAGE_CHARACTERS = 160;
const shortened = (message: string): string => message.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed();
