import type { Stage } from '#lib/model-registry/port.ts';

/** Tag of a version that a safety gate decided about, and the only value with which it may serve anybody. */
export const SAFETY_GATE_TAG = 'trainyard.safetyGate';
const PASSED = 'passed';

/** Stages whose versions answer requests, or are about to. */
const SERVING: readonly Stage[] = ['staging', 'prod'];

/**
 * False for a version that a safety gate did not let pass, whoever asks: any value of the tag but `passed` is a no. A version without the tag had no
 * such gate to pass. The stages that serve nobody are open to all.
 */
export const mayPromote = (tags: Readonly<Record<string, string>>, stage: Stage): boolean =>
  !SERVING.includes(stage) || (tags[SAFETY_GATE_TAG] ?? PASSED) === PASSED;
