import { createHash } from 'node:crypto';
import { canonicalJson, type Json } from '#lib/kernel/canonical-json.ts';

/** SHA-256 of the canonical JSON of a value, lower-case hex: equal values have equal digests, whatever the order of their members. */
export const digestOf = (value: unknown): string =>
  createHash('sha256')
    .update(canonicalJson(value as Json))
    .digest('hex');
