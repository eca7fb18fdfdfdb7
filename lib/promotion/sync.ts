import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import type { Promotion, PromotionLedger } from './port.ts';

export interface SyncReport {
  /** Rows that the registry shows now. */
  readonly pushed: number;
  /** Rows that the registry will never show: the version does not exist there (any more). The ledger stays the truth. */
  readonly refused: readonly Promotion[];
  /** Models whose rows wait because the registry failed, with the reason. */
  readonly waiting: ReadonlyMap<string, string>;
}

/** Rows of one call at most: a long outage's rows must not keep a stop waiting. */
const MAX_ROWS = 1_000;

/**
 * Brings the model registry in line with the ledger: every row that it does not show yet, in order per model. A model whose push failed is left for
 * the next call, the others go on; safe to call from any number of processes at once. Rejects only when the ledger itself cannot be reached.
 */
export async function syncPromotions(
  ledger: PromotionLedger,
  registry: Pick<ModelRegistry, 'setStage'>,
  now: () => number,
  signal?: AbortSignal,
): Promise<SyncReport> {
  const refused: Promotion[] = [];
  const waiting = new Map<string, string>();
  let pushed = 0;
  for (let turn = 0; turn < MAX_ROWS; turn++) {
    if (signal?.aborted === true) break;
    let current: Promotion | null = null;
    const failure: { error: unknown } = { error: null };
    const push = async (promotion: Promotion): Promise<void> => {
      current = promotion;
      try {
        await registry.setStage(promotion.project, promotion.model, promotion.version, promotion.stage);
      } catch (error) {
        if (!(error instanceof TrainyardError) || error.retryable) {
          failure.error = error;
          throw error;
        }
        refused.push(promotion);
      }
    };
    try {
      if (!(await ledger.pushNext(push, now(), [...waiting.keys()]))) break;
      pushed++;
    } catch (error) {
      // Not the registry: the ledger's database.
      if (current === null || failure.error !== error) throw error;
      waiting.set(modelOf(current), messageOf(error));
    }
  }
  return { pushed: pushed - refused.length, refused, waiting };
}

const modelOf = ({ project, model }: Promotion): string => `${project}/${model}`;
