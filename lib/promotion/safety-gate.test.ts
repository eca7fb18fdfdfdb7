import { describe, expect, it } from 'vitest';
import { STAGES } from '#lib/model-registry/port.ts';
import { mayPromote, SAFETY_GATE_TAG } from './safety-gate.ts';

describe('a failed safety gate', () => {
  it.each(['failed', 'Failed', '', 'unknown', 'passed '])('with the tag %j closes the stages that serve', (value) => {
    const open = STAGES.filter((stage) => mayPromote({ [SAFETY_GATE_TAG]: value }, stage));
    expect(open).toEqual(['dev', 'archived']);
  });

  it('that was passed, or never set, closes none', () => {
    expect(STAGES.every((stage) => mayPromote({ [SAFETY_GATE_TAG]: 'passed' }, stage))).toBe(true);
    expect(STAGES.every((stage) => mayPromote({}, stage))).toBe(true);
  });
});
