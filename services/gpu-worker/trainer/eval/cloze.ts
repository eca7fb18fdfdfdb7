import { readFile } from 'node:fs/promises';
import { type Static, Type } from '#typebox';
import { Value } from '#typebox/value';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import type { Tokenizer } from '#lib/text/tokenizer.ts';
import { required } from '../failure.ts';
import type { ScoringProgram } from '../programs/causal-lm.ts';
import { type RowScoring, scoredRow, scoreRows } from './score-rows.ts';

const ClozeItem = Type.Object({
  context: Type.String({ minLength: 1 }),
  choices: Type.Array(Type.String({ minLength: 1 }), { minItems: 4, maxItems: 4 }),
  /** Index of the true continuation. */
  answer: Type.Integer({ minimum: 0, maximum: 3 }),
});
export type ClozeItem = Static<typeof ClozeItem>;

/** A file of shipped questions; `source` says where the text is from. */
const ClozeFile = Type.Object({
  format: Type.Literal('trainyard-cloze/1'),
  source: Type.String({ minLength: 1 }),
  items: Type.Array(ClozeItem, { minItems: 1, maxItems: 10_000 }),
});

/** Reads the questions shipped as `data/<name>.json`, at most `maxItems` of them (0 = all). */
export async function loadClozeItems(name: string, maxItems: number): Promise<ClozeItem[]> {
  const file = new URL(`data/${name}.json`, import.meta.url);
  const text = await required(`eval/data/${name}.json`, () => readFile(file, 'utf8'));
  const items = parseClozeItems(text, name);
  return maxItems === 0 ? items : items.slice(0, maxItems);
}

/** Throws `TrainerBadData` naming what is wrong. */
export function parseClozeItems(text: string, name: string): ClozeItem[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new TrainyardError('TrainerBadData', `cloze items ${name}: ${messageOf(error)}`, { cause: error });
  }
  if (Value.Check(ClozeFile, json)) return json.items;
  const error = Value.Errors(ClozeFile, json)[0];
  throw new TrainyardError(
    'TrainerBadData',
    `cloze items ${name}: ${error?.instancePath ?? ''} ${error?.message ?? ''}`,
  );
}

/**
 * Answers every question the MMLU way: the choice with the highest summed log-likelihood after the context (ties: the first).
 * Answers 1 for right and 0 for wrong, in item order. Contexts are cut from the left to
 * fit the model; all choices of a question are cut alike, so that none gains from its length.
 */
export async function answerCloze(
  program: ScoringProgram,
  items: readonly ClozeItem[],
  tokenizer: Tokenizer,
  options: RowScoring,
): Promise<number[]> {
  const rows = items.flatMap(({ context, choices }) => {
    const contextIds = tokenizer.encode(context);
    return choices.map((choice) => scoredRow(contextIds, tokenizer.encode(choice), options.length));
  });
  const logLikelihoods = await scoreRows(program, rows, options);
  return items.map(({ answer, choices }, item) => {
    const scores = choices.map(
      (_, choice) => logLikelihoods[item * choices.length + choice] ?? Number.NEGATIVE_INFINITY,
    );
    return scores.indexOf(Math.max(...scores)) === answer ? 1 : 0;
  });
}
