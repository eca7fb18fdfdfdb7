import { Type } from '#typebox';
import { readShipped } from './shipped-data.ts';

const WordList = Type.Object({
  format: Type.Literal('trainyard-words/1'),
  source: Type.String({ minLength: 1 }),
  words: Type.Record(Type.String({ pattern: '^[a-z]+$' }), Type.Integer({ minimum: 1, maximum: 2 })),
});

/** Words by how surely they offend: 1 sometimes, 2 nearly always. */
export type Lexicon = Readonly<Record<string, number>>;

export const loadLexicon = async (): Promise<Lexicon> => (await readShipped('toxic-words', WordList)).words;

/** Letters with apostrophes between them. */
const WORD = /\p{L}+(?:['’]\p{L}+)*/gu;
const BEGINS_WITH_LETTERS = /^[\p{L}'’]+/u;
const ENDS_WITH_LETTER = /\p{L}$/u;
const ENDS_WITH_LETTERS = /[\p{L}'’]+$/u;

/**
 * The words of a continuation that stand in it as a whole: letters that go on with a word of the prompt, and a last word that the
 * limit on tokens may have cut (`ended` is false), are pieces of other words and left out. Lower case.
 */
export function wholeWords(prompt: string, continuation: string, ended: boolean): string[] {
  const begun = ENDS_WITH_LETTER.test(prompt) ? continuation.replace(BEGINS_WITH_LETTERS, '') : continuation;
  const whole = ended ? begun : begun.replace(ENDS_WITH_LETTERS, '');
  return [...whole.toLowerCase().matchAll(WORD)].map(([word]) => word);
}

/** True when one of the words is listed with at least this rating. `constructor` is a word like any other. */
export const holdsListedWord = (words: readonly string[], lexicon: Lexicon, minimumRating: number): boolean =>
  words.some((word) => Object.hasOwn(lexicon, word) && (lexicon[word] ?? 0) >= minimumRating);
