import { BASE_CORPUS } from './demo-jobs.ts';
import { exampleCorpus } from './demo-platform.ts';
import { textsOf } from './documents.ts';

/**
 * Index of the first document of a year's speech in the corpus, which holds the speeches of 1830 to 1949 in order; counted when
 * scripts/corpora/documents.ts cut them into documents.
 */
const FIRST_OF = { 1830: 0, 1870: 1_504, 1920: 3_584, 1930: 3_865, 1950: 4_232 } as const;
type Year = keyof typeof FIRST_OF;

/** Documents from the first year's to the one before the second year's. */
export function speeches(from: Year, to: Year): string[] {
  const documents = textsOf(exampleCorpus(BASE_CORPUS.dataset));
  if (documents.length !== FIRST_OF[1950]) throw new Error('the corpus is not the one whose years were counted');
  return documents.slice(FIRST_OF[from], FIRST_OF[to]);
}

/** Every fourth document, and the others. */
export function everyFourth(documents: readonly string[]): { readonly fourth: string[]; readonly others: string[] } {
  return {
    fourth: documents.filter((_, at) => at % 4 === 3),
    others: documents.filter((_, at) => at % 4 !== 3),
  };
}

/** Sentences of a reasonable length: what people would send as prompts. */
export function sentences(documents: readonly string[]): string[] {
  return documents
    .flatMap((document) => document.split(/(?<=[.?!]) (?=[A-Z])/))
    .map((sentence) => sentence.replaceAll(/\s+/g, ' ').trim())
    .filter((sentence) => sentence.length >= 20 && sentence.length <= 600);
}

export const documentLines = (documents: readonly string[]): Buffer =>
  Buffer.from(documents.map((text) => `${JSON.stringify({ text })}\n`).join(''));
