import {
  beginReplay,
  type RecordedFact,
  type Replay,
  replayFact,
  type ReplayOutcome,
  replayVerdict,
  type ReplayVerdict,
  type StoredProjection,
} from '../domain/replay-check.ts';
import type { WorkflowRegistry } from '../domain/workflows/registry.ts';

/** Workflows that are folded at once: bounds memory, and how long one read transaction lives. */
const BATCH = 100;

/** Facts read by one query at most. */
const FACTS_PAGE = 2_000;

/** A database of an earlier release, read only. Everything inside one `batch` is of one moment. */
export interface UpgradeCheckSource {
  batch<T>(work: (batch: UpgradeCheckBatch) => Promise<T>): Promise<T>;
}

export interface UpgradeCheckBatch {
  /** Open and parked workflows with ids above `afterId`, in the order of their ids. */
  workflows(afterId: string, limit: number): Promise<readonly StoredProjection[]>;
  /** Facts of these workflows above the position, in the order of workflow id and seq. */
  facts(
    workflowIds: readonly string[],
    after: { readonly workflowId: string; readonly seq: number },
    limit: number,
  ): Promise<readonly (RecordedFact & { readonly workflowId: string })[]>;
}

/** How many workflows of a definition came out how. */
export type DefinitionSummary = Readonly<Record<ReplayOutcome, number>>;

export interface UpgradeCheckResult {
  readonly checked: number;
  readonly byDefinition: Readonly<Record<string, DefinitionSummary>>;
  /** True when no workflow would change state, differ or get stuck: this code may take over. */
  readonly ok: boolean;
}

/**
 * Folds the log of every workflow that is not over on this code, from the start and from its snapshot, and compares with what is stored.
 * Changes nothing. `onVerdict` gets every workflow that is not the same, in the order of the ids; memory does not grow with their number.
 */
export async function checkUpgrade(
  source: UpgradeCheckSource,
  registry: WorkflowRegistry,
  onVerdict: (verdict: ReplayVerdict) => void,
): Promise<UpgradeCheckResult> {
  const byDefinition: Record<string, Record<ReplayOutcome, number>> = {};
  let checked = 0;
  let bad = 0;
  for (let afterId = ''; ; ) {
    const verdicts = await source.batch((batch) => checkBatch(batch, registry, afterId));
    for (const verdict of verdicts) {
      checked++;
      const summary = (byDefinition[verdict.definition] ??= { same: 0, differs: 0, stuck: 0, parked: 0, resumes: 0 });
      summary[verdict.outcome]++;
      if (verdict.outcome !== 'same') onVerdict(verdict);
      if (verdict.outcome === 'differs' || verdict.outcome === 'stuck') bad++;
    }
    const last = verdicts.at(-1);
    if (last === undefined) return { checked, byDefinition, ok: bad === 0 };
    afterId = last.workflowId;
  }
}

async function checkBatch(
  batch: UpgradeCheckBatch,
  registry: WorkflowRegistry,
  afterId: string,
): Promise<readonly ReplayVerdict[]> {
  const replays = new Map<string, Replay>();
  for (const stored of await batch.workflows(afterId, BATCH)) replays.set(stored.workflowId, beginReplay(stored));
  const ids = [...replays.keys()];
  let position = { workflowId: '', seq: 0 };
  for (let full = ids.length > 0; full; ) {
    const facts = await batch.facts(ids, position, FACTS_PAGE);
    for (const recorded of facts) {
      const replay = replays.get(recorded.workflowId);
      if (replay !== undefined) replays.set(recorded.workflowId, replayFact(registry, replay, recorded));
      position = { workflowId: recorded.workflowId, seq: recorded.seq };
    }
    full = facts.length === FACTS_PAGE;
  }
  return [...replays.values()].map((replay) => replayVerdict(registry, replay));
}
