import type { Stage } from '#lib/model-registry/port.ts';

/** One row of the ledger: at a time, on somebody's word, a version came into a stage. */
export interface Promotion {
  readonly project: string;
  readonly model: string;
  /** From 1 per model, without gaps. */
  readonly seq: number;
  readonly version: number;
  readonly stage: Stage;
  readonly kind: 'promote' | 'rollback';
  /** Was prod until this row and is archived by it; null: none was, or the same version. */
  readonly formerVersion: number | null;
  /** Null: a person asked. */
  readonly jobId: string | null;
  readonly requestedBy: string;
  readonly reason: string;
  readonly atMs: number;
  /** When the model registry showed it; null until then. */
  readonly syncedAtMs: number | null;
}

export interface PromotionRequest {
  readonly project: string;
  readonly model: string;
  readonly version: number;
  readonly stage: Stage;
  readonly jobId: string | null;
  readonly requestedBy: string;
  readonly reason: string;
  readonly atMs: number;
}

export interface RollbackRequest {
  readonly project: string;
  readonly model: string;
  /** Only if this version is in prod: a request that is repeated does not roll back twice. */
  readonly fromVersion?: number;
  readonly requestedBy: string;
  readonly reason: string;
  readonly atMs: number;
}

export type Rollback =
  | { readonly ok: true; readonly promotion: Promotion }
  /** `NothingBefore`: no version was in prod before the present one. `NotInProd`: `fromVersion` is not. Nothing changed. */
  | { readonly ok: false; readonly reason: 'NothingBefore' | 'NotInProd' };

/**
 * The truth about stages of model versions. The model registry follows (`sync.ts`).
 *
 * Guarantees of every implementation (contract suite `promotion-ledger.contract.ts`):
 * - PL-1 append only; the rows of a model are numbered 1, 2, 3 ... and at every prefix at most one version is prod.
 * - PL-2 a promotion to prod archives the version that was there, in the same row.
 * - PL-3 a job promotes a version to a stage once: the same request again adds nothing, whatever happened since.
 * - PL-4 rollback puts back the version that was prod before; one that was rolled back or taken out of prod never comes back by it.
 * - PL-5 nothing here waits for the model registry.
 * - PL-6 rows are handed to the registry in order per model, by one process at a time; a row that failed is handed over again.
 */
export interface PromotionLedger {
  /** Whether the version exists, and may be promoted, is the caller's to know. Returns the row, or null when the job had it already. */
  promote(request: PromotionRequest): Promise<Promotion | null>;
  rollback(request: RollbackRequest): Promise<Rollback>;
  /** Newest first; `before` is the lowest seq of the page before. */
  history(project: string, model: string, page: { limit: number; before?: number }): Promise<Promotion[]>;
  /** Stages of all versions that the ledger knows; a version without one is where it was created. */
  stages(project: string, model: string): Promise<ReadonlyMap<number, Stage>>;
  /**
   * Calls `push` with the oldest row of some model that the registry does not show yet and that no other process is pushing, and marks it when
   * `push` resolves. False when there is none. Rejects with what `push` threw; the row is then handed out again. `skipping`: models to leave out, as
   * `project/model`.
   */
  pushNext(push: (promotion: Promotion) => Promise<void>, nowMs: number, skipping: readonly string[]): Promise<boolean>;
}
