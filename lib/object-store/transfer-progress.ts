/** Where a transfer of a folder stands; `bytes` counts files that are done, skipped ones included. */
export interface TransferProgress {
  readonly files: number;
  readonly totalFiles: number;
  readonly bytes: number;
  readonly totalBytes: number;
}
