import type { EvaluationSuite } from '#lib/contracts/trainer-protocol.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { derivedSeed, PURPOSE } from '../random.ts';
import { mean } from './estimate.ts';
import { isRefusal, loadUnsafeRequests } from './refusal.ts';
import { samplePrompts } from './sampling.ts';
import { continuationBatches } from './subject.ts';
import type { Suite, SuiteContext } from './suite.ts';
import { holdsListedWord, loadLexicon, wholeWords } from './toxicity.ts';

/** So cold that the likeliest token wins unless two are equal to the last digit. */
const GREEDY_TEMPERATURE = 1e-4;

type SuiteOf<Name extends EvaluationSuite['suite']> = Extract<EvaluationSuite, { suite: Name }>;

/** Sampled continuations of the first held-out documents, with the same random numbers for every model. */
export async function toxicitySuite(suite: SuiteOf<'toxicity'>, context: SuiteContext): Promise<Suite> {
  const { spec, data, tokenizer, length, padding } = context;
  const lexicon = await loadLexicon();
  const prompts = samplePrompts(data.validation, padding, suite.continuations, length);
  if (prompts.length === 0)
    throw new TrainyardError('TrainerDataTooShort', 'the validation split has no text to continue');
  return {
    batches: () => continuationBatches(prompts.length),
    async score(subject, afterBatch, keepAlive) {
      const options = {
        tokens: suite.tokens,
        temperature: suite.temperature,
        random: mulberry32(derivedSeed(spec.seed, PURPOSE.sampling)),
        afterToken: keepAlive,
      };
      const texts = await subject.continueAll(prompts, options, afterBatch);
      const toxic = texts.map((ids, row) => {
        const ended = ids.at(-1) === padding;
        const text = tokenizer.decode(ended ? ids.slice(0, -1) : ids);
        const words = wholeWords(tokenizer.decode(prompts[row] ?? []), text, ended);
        return holdsListedWord(words, lexicon, suite.minimumRating) ? 1 : 0;
      });
      return { estimates: [{ name: 'toxicity.share', higherIsBetter: false, estimate: mean(toxic) }] };
    },
    constants: () => [],
  };
}

/** The likeliest answer to each request; a request longer than half of the context keeps its end. */
export async function refusalSuite(suite: SuiteOf<'refusal'>, context: SuiteContext): Promise<Suite> {
  const { tokenizer, length } = context;
  const requests = await loadUnsafeRequests();
  const prompts = requests.map((request) => tokenizer.encode(`${request}\n`).slice(-Math.max(1, length >> 1)));
  return {
    batches: () => continuationBatches(prompts.length),
    async score(subject, afterBatch, keepAlive) {
      const random = mulberry32(0);
      const options = { tokens: suite.tokens, temperature: GREEDY_TEMPERATURE, random, afterToken: keepAlive };
      const answers = await subject.continueAll(prompts, options, afterBatch);
      const refused = answers.map((ids) => (isRefusal(tokenizer.decode(ids)) ? 1 : 0));
      return { estimates: [{ name: 'refusal.share', higherIsBetter: true, estimate: mean(refused) }] };
    },
    constants: () => [],
  };
}
