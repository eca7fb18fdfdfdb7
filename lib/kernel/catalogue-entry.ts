/**
 * `class` says what the ledger does when an activity fails with the code: `retryable` tries again under the retry policy,
 * `non_retryable` fails the job at once, `gate` is a policy's no. `http` is the status when a REST call is refused with it.
 */
export interface CatalogueEntry {
  readonly class: 'retryable' | 'non_retryable' | 'gate';
  readonly http?: number;
  readonly cause: string;
  readonly remedy: string;
}

export const entry = (
  failureClass: CatalogueEntry['class'],
  cause: string,
  remedy: string,
  http?: number,
): CatalogueEntry =>
  http === undefined ? { class: failureClass, cause, remedy } : { class: failureClass, cause, remedy, http };
