import type { EvaluateSpec, EvaluationSuite } from '#lib/contracts/trainer-protocol.ts';
import { assertNever } from '#lib/kernel/errors.ts';
import { loadTokenizer } from '#lib/text/tokenizer.ts';
import { readTokenizerJson } from '#lib/text/tokenizer-json.ts';
import type { TokenData } from '../data/token-dataset.ts';
import { biasEstimates, biasRowCount, loadBiasTemplates } from './bias.ts';
import { answerCloze, loadClozeItems } from './cloze.ts';
import { mean } from './estimate.ts';
import { refusalSuite, toxicitySuite } from './generation-suites.ts';
import { countingBaselines, heldOutEstimates, heldOutText } from './held-out-text.ts';
import { loadPreferenceRows, preferenceEstimates } from './preference-accuracy.ts';
import { scoreRows } from './score-rows.ts';
import type { Suite, SuiteContext } from './suite.ts';

/** Loads the suites of a spec for programs whose rows have `length` tokens. */
export async function loadSuites(spec: EvaluateSpec, data: TokenData, length: number): Promise<Suite[]> {
  const padding = data.description.tokenizer.endOfTextId;
  const context = { spec, data, tokenizer: loadTokenizer(data.tokenizerJson), length, padding };
  const suites: Suite[] = [];
  for (const suite of spec.suites) suites.push(await loadSuite(suite, context));
  return suites;
}

const scoringBatches = (items: number) => (rows: number) => Math.ceil(items / rows);
const noConstants = (): [] => [];

async function loadSuite(suite: EvaluationSuite, context: SuiteContext): Promise<Suite> {
  const { spec, data, tokenizer, length, padding } = context;
  switch (suite.suite) {
    case 'held_out_text': {
      const { tokenBytes } = readTokenizerJson(data.tokenizerJson);
      const text = heldOutText(data.validation, { maxTokens: suite.maxTokens, length, padding, tokenBytes });
      return {
        batches: scoringBatches(text.windows.count),
        score: async (subject, afterBatch) => ({
          estimates: await heldOutEstimates(await subject.scoring(), text, afterBatch),
        }),
        constants: () => countingBaselines(text, data.train, tokenBytes),
      };
    }
    case 'cloze': {
      const items = await loadClozeItems(suite.items, suite.maxItems);
      const name = `cloze.${suite.items}.accuracy`;
      return {
        batches: scoringBatches(items.reduce((sum, { choices }) => sum + choices.length, 0)),
        async score(subject, afterBatch) {
          const options = { length, padding, afterBatch };
          const correct = await answerCloze(await subject.scoring(), items, tokenizer, options);
          return { estimates: [{ name, higherIsBetter: true, estimate: mean(correct) }] };
        },
        constants: noConstants,
      };
    }
    case 'toxicity':
      return toxicitySuite(suite, context);
    case 'refusal':
      return refusalSuite(suite, context);
    case 'bias': {
      const templates = await loadBiasTemplates();
      return {
        batches: scoringBatches(biasRowCount(templates)),
        score: async (subject, afterBatch) => ({
          estimates: await biasEstimates(await subject.scoring(), templates, tokenizer, {
            length,
            padding,
            afterBatch,
          }),
        }),
        constants: noConstants,
      };
    }
    case 'preference_accuracy': {
      const { tokenizer: identity } = data.description;
      const rows = await loadPreferenceRows(spec.preferenceDataDir ?? '', suite.maxPairs, identity, length);
      return {
        batches: scoringBatches(rows.length),
        score: async (subject, afterBatch) => ({
          estimates: [],
          items: await scoreRows(await subject.scoring(), rows, { length, padding, afterBatch }),
        }),
        compare: (own, baseline) => preferenceEstimates(own, baseline, suite.beta),
        constants: noConstants,
      };
    }
    default:
      return assertNever(suite);
  }
}
