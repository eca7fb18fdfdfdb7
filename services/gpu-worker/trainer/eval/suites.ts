import type { EvaluateSpec, EvaluationMetric, EvaluationSuite } from '#lib/contracts/trainer-protocol.ts';
import { assertNever } from '#lib/kernel/errors.ts';
import { loadTokenizer } from '#lib/text/tokenizer.ts';
import { readTokenizerJson } from '#lib/text/tokenizer-json.ts';
import type { TokenData } from '../data/token-dataset.ts';
import type { ScoringProgram } from '../programs/causal-lm.ts';
import { answerCloze, loadClozeItems } from './cloze.ts';
import { mean, type NamedEstimate } from './estimate.ts';
import { countingBaselines, heldOutEstimates, heldOutText } from './held-out-text.ts';

/** A suite with its items loaded: every model answers the same ones, so that differences are paired. */
export interface Suite {
  /** Rows of a batch that one model takes. */
  readonly rows: number;
  /** Scores a model; `afterBatch` is called after each batch and may throw to stop. */
  score(program: ScoringProgram, afterBatch: () => void): Promise<NamedEstimate[]>;
  /** Metrics that do not depend on the model. */
  constants(): EvaluationMetric[];
}

/** Loads the suites of a spec for programs whose rows have `length` tokens. */
export async function loadSuites(spec: EvaluateSpec, data: TokenData, length: number): Promise<Suite[]> {
  const suites: Suite[] = [];
  for (const suite of spec.suites) suites.push(await loadSuite(suite, data, length));
  return suites;
}

async function loadSuite(suite: EvaluationSuite, data: TokenData, length: number): Promise<Suite> {
  const padding = data.description.tokenizer.endOfTextId;
  switch (suite.suite) {
    case 'held_out_text': {
      const { tokenBytes } = readTokenizerJson(data.tokenizerJson);
      const text = heldOutText(data.validation, { maxTokens: suite.maxTokens, length, padding, tokenBytes });
      return {
        rows: text.windows.count,
        score: (program, afterBatch) => heldOutEstimates(program, text, afterBatch),
        constants: () => countingBaselines(text, data.train, tokenBytes),
      };
    }
    case 'cloze': {
      const items = await loadClozeItems(suite.items, suite.maxItems);
      const tokenizer = loadTokenizer(data.tokenizerJson);
      const name = `cloze.${suite.items}.accuracy`;
      return {
        rows: items.reduce((sum, { choices }) => sum + choices.length, 0),
        async score(program, afterBatch) {
          const correct = await answerCloze(program, items, tokenizer, { length, padding, afterBatch });
          return [{ name, higherIsBetter: true, estimate: mean(correct) }];
        },
        constants: () => [],
      };
    }
    default:
      return assertNever(suite);
  }
}
