import type {
  ApprovalRow,
  Commit,
  PromotionRow,
  SplitEndRow,
  SplitStartRow,
} from '../../services/orchestrator/app/commit.ts';

/** A row of `promotions`; `formerVersion`: was prod until then and is archived by it. */
export interface LedgerEntry {
  readonly project: string;
  readonly model: string;
  readonly seq: number;
  readonly version: number;
  readonly stage: string;
  readonly formerVersion: number | null;
  readonly jobId: string | null;
}

/** A row of `traffic_splits`. */
export interface Split extends SplitStartRow {
  readonly endedAtMs: number | null;
  readonly outcome: string | null;
}

/** `approvals`, `promotions` with `model_stages`, `traffic_splits`: migrations 0011 and 0012. */
export class ReleaseTables {
  readonly approvals = new Map<string, ApprovalRow>();
  readonly promotions: LedgerEntry[] = [];
  splits: Split[] = [];
  /** Stage by version, by project and model. */
  readonly #stages = new Map<string, Map<number, string>>();
  /** Called when a line was written. */
  onPromotion: (entry: LedgerEntry) => void = () => undefined;

  commit(commit: Commit): void {
    for (const row of commit.approvals) this.approvals.set(row.id, row);
    for (const row of inOrder(commit.promotions)) this.promote(row);
    for (const row of inOrder(commit.splitsStarted)) this.startSplit(row);
    for (const row of commit.splitsEnded) this.endSplit(row);
  }

  stages(project: string, model: string): ReadonlyMap<number, string> {
    return this.#stages.get(`${project}/${model}`) ?? new Map();
  }

  /** A job promotes a version to a stage once, whatever happened since. */
  isRepeated({
    jobId,
    project,
    model,
    version,
    stage,
  }: Omit<PromotionRow, 'jobId'> & { jobId: string | null }): boolean {
    return this.promotions.some(
      (line) =>
        jobId !== null &&
        line.jobId === jobId &&
        line.project === project &&
        line.model === model &&
        line.version === version &&
        line.stage === stage,
    );
  }

  /** `promotion_append`: the version that was in prod is archived by the same line. */
  promote(row: Omit<PromotionRow, 'jobId'> & { readonly jobId: string | null }): void {
    if (this.isRepeated(row)) return;
    const { project, model, version, stage, jobId } = row;
    const stages = new Map(this.stages(project, model));
    const inProd = [...stages].find(([, each]) => each === 'prod')?.[0] ?? null;
    const formerVersion = stage === 'prod' && inProd !== version ? inProd : null;
    if (formerVersion !== null) stages.set(formerVersion, 'archived');
    stages.set(version, stage);
    this.#stages.set(`${project}/${model}`, stages);
    const seq = this.promotions.filter((line) => line.project === project && line.model === model).length + 1;
    const entry = { project, model, seq, version, stage, formerVersion, jobId };
    this.promotions.push(entry);
    this.onPromotion(entry);
  }

  /** `traffic_split_start`: nothing for a job that had one of the model, nor while another job's is open. */
  startSplit(row: SplitStartRow): void {
    const taken = this.splits.some(
      (split) =>
        split.project === row.project &&
        split.model === row.model &&
        (split.jobId === row.jobId || split.endedAtMs === null),
    );
    if (!taken) this.splits.push({ ...row, endedAtMs: null, outcome: null });
  }

  endSplit({ project, model, jobId, outcome, atMs }: SplitEndRow): void {
    this.splits = this.splits.map((split) =>
      split.project === project && split.model === model && split.jobId === jobId && split.endedAtMs === null
        ? { ...split, endedAtMs: atMs, outcome }
        : split,
    );
  }
}

/** As the database takes its locks: by project and model, then as they came. */
const inOrder = <T extends { readonly project: string; readonly model: string }>(rows: readonly T[]): T[] =>
  rows.toSorted((a, b) => compare(`${a.project}/${a.model}`, `${b.project}/${b.model}`));

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
