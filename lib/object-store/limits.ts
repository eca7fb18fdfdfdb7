/** What `put` and `get` hold in memory at most. */
export const MAX_IN_MEMORY_BYTES = 64 * 1_024 * 1_024;

/** Bytes of a part of a large file: an interruption costs at most one, and one is held in memory. S3 asks for at least 5 MiB. */
export const PART_BYTES = 8 * 1_024 * 1_024;

/** Parts that one store sends at once, over all its files: enough to hide the round trips, and 24 MiB of buffers. */
export const PARTS_IN_FLIGHT = 3;

/** S3's limit is 10,000 parts; a larger file gets larger parts. */
const MAX_PARTS = 10_000;
const MIB = 1_024 * 1_024;

/** Bytes of a part of a file of up to `bytes`: the usual size, or so much (whole MiB) that the parts suffice. */
export const partBytesFor = (bytes: number, usual: number): number =>
  bytes <= usual * MAX_PARTS ? usual : Math.ceil(bytes / MAX_PARTS / MIB) * MIB;
