/** What `put` and `get` hold in memory at most. */
export const MAX_IN_MEMORY_BYTES = 64 * 1_024 * 1_024;

/** Bytes of a part of a large file: an interruption costs at most one, and one is held in memory. S3 asks for at least 5 MiB. */
export const PART_BYTES = 8 * 1_024 * 1_024;
