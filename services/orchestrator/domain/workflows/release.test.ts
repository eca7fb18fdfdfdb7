import { describe, expect, it } from 'vitest';
import type { ReleaseSettings } from '#lib/contracts/release.ts';
import { FULL_RELEASE } from '../../../../test/support/flows/flow-inputs.ts';
import { registered, RELEASING } from '../../../../test/support/flows/flow-stories.ts';
import type { Story } from '../../../../test/support/flows/story.ts';

const { approval, canary } = FULL_RELEASE;
if (approval === undefined || canary === undefined) throw new Error('a full release has both');
const HOUR_MS = 3_600_000;
const GRACE_MS = 600_000;

const promotions = (story: Story): string[] =>
  story.effects.flatMap((effect) =>
    effect.type === 'promote' ? [`${effect.promotion.version} ${effect.promotion.stage}`] : [],
  );
const splits = (story: Story): string[] =>
  story.effects.flatMap((effect) =>
    effect.type === 'startCanary' ? ['start'] : effect.type === 'endCanary' ? [effect.outcome] : [],
  );
/** The version that the flow registered. */
const made = (story: Story): number => {
  const promoted = story.effects.find((effect) => effect.type === 'promote');
  return promoted?.type === 'promote' ? promoted.promotion.version : 0;
};

describe.each(RELEASING)('the release of %s', (flow) => {
  const at = (release: ReleaseSettings | undefined, champion = true): Story => registered(flow, release, champion);
  const watching = (change: Partial<typeof canary> = {}): Story =>
    at({ promote: true, canary: { ...canary, ...change } });

  it('that nobody asked for leaves the version in dev', () => {
    for (const story of [at(undefined), at({ promote: false }), at({ ...FULL_RELEASE, promote: false })]) {
      expect(story.machineState).toBe('kept');
      expect(story.state.finish).toMatchObject({
        status: 'COMPLETED',
        result: { release: { promoted: false, canary: null } },
      });
      expect(promotions(story)).toEqual([]);
    }
  });

  it('without conditions goes to production at once', () => {
    const story = at({ promote: true });
    expect(story.state.finish).toMatchObject({ status: 'COMPLETED', result: { release: { promoted: true } } });
    expect(promotions(story)).toEqual([`${made(story)} prod`]);
  });

  it('that people agree with goes on; one that they reject, leave or that is voided is REJECTED and promotes nothing', () => {
    const ask = () => at({ promote: true, approval });
    const agreed = ask();
    expect(agreed.machineState).toBe('approving');
    agreed.vote('release', 'ann');
    agreed.vote('release', 'bob');
    expect(promotions(agreed)).toEqual([`${made(agreed)} prod`]);
    const refusals: ((story: Story) => unknown)[] = [
      (story) => story.vote('release', 'ann', 'reject'),
      (story) => story.fire('approval:release:expires'),
      (story) => story.voidTicket('release'),
    ];
    for (const refuse of refusals) {
      const story = ask();
      refuse(story);
      expect(story.state.finish).toMatchObject({ status: 'REJECTED', result: { release: { promoted: false } } });
      expect(promotions(story)).toEqual([]);
    }
  });

  it('asks about the artifacts and every report, by their digests', () => {
    const ticket = at({ promote: true, approval }).state.approvals?.['release'];
    expect(ticket?.subject).toMatchObject({ kind: 'release', artifacts: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const reports = Object.values(ticket?.subject.reports ?? {});
    expect(reports.length).toBe(flow === 'hpo' ? 1 : 2);
    for (const report of reports) expect(report).toMatch(/^[0-9a-f]{64}$/);
  });

  it('watches a canary in staging against the version in production, and promotes what passes', () => {
    const story = watching();
    expect(story.machineState).toBe('canary');
    expect(promotions(story)).toEqual([`${made(story)} staging`]);
    const started = story.effects.find((effect) => effect.type === 'startCanary');
    expect(started).toMatchObject({
      canary: { version: made(story), baseline: flow === 'retrain' ? 3 : 2, settings: canary },
    });
    expect(story.verdict('pass').slice(0, 2)).toEqual([
      `no timer canary`,
      expect.stringMatching(/^no canary .*: pass$/),
    ]);
    expect(promotions(story)).toEqual([`${made(story)} staging`, `${made(story)} prod`]);
    expect(story.state.finish).toMatchObject({
      status: 'COMPLETED',
      result: { release: { promoted: true, canary: { outcome: 'pass', reports: [{ metric: 'error_rate' }] } } },
    });
    expect(splits(story)).toEqual(['start', 'pass']);
  });

  it('archives a canary that fails, and ends ROLLED_BACK', () => {
    const story = watching();
    story.verdict('fail');
    expect(promotions(story)).toEqual([`${made(story)} staging`, `${made(story)} archived`]);
    expect(story.status).toBe('ROLLED_BACK');
    expect(splits(story)).toEqual(['start', 'fail']);
  });

  it('rolls an inconclusive canary back when it was told to', () => {
    const story = watching({ onInconclusive: 'rollback' });
    story.verdict('inconclusive');
    expect(story.status).toBe('ROLLED_BACK');
    expect(promotions(story).at(-1)).toBe(`${made(story)} archived`);
  });

  it('lets people decide an inconclusive canary: the split has ended, and only their yes promotes', () => {
    const decide = (answer: (story: Story) => unknown): Story => {
      const story = watching();
      story.verdict('inconclusive');
      expect(story.machineState).toBe('decidingCanary');
      expect(splits(story)).toEqual(['start', 'inconclusive']);
      expect(story.state.approvals?.['canary']).toMatchObject({
        required: 1,
        subject: { kind: 'inconclusive_canary' },
      });
      answer(story);
      return story;
    };
    expect(decide((story) => story.vote('canary', 'ann')).status).toBe('COMPLETED');
    for (const refuse of [
      (story: Story) => story.vote('canary', 'ann', 'reject'),
      (story: Story) => story.fire('approval:canary:expires'),
      (story: Story) => story.voidTicket('canary'),
    ]) {
      const story = decide(refuse);
      expect(story.status).toBe('ROLLED_BACK');
      expect(promotions(story)).toEqual([`${made(story)} staging`, `${made(story)} archived`]);
    }
  });

  it('of a canary that nobody judges is inconclusive a little after its latest end', () => {
    const story = watching();
    expect(story.state.timers['canary']).toBe(story.nowMs + 24 * HOUR_MS + GRACE_MS);
    story.fire('canary');
    expect(story.machineState).toBe('decidingCanary');
    expect(splits(story)).toEqual(['start', 'inconclusive']);
    // The verdict that comes after all changes nothing.
    expect(story.verdict('pass')).toEqual([]);
    expect(story.machineState).toBe('decidingCanary');
  });

  it('that is cancelled or times out in its canary takes the traffic back, and the version out of staging', () => {
    for (const end of [(story: Story) => story.cancel(), (story: Story) => story.timeOut()]) {
      const story = watching();
      end(story);
      expect(splits(story)).toEqual(['start', 'cancelled']);
      expect(promotions(story)).toEqual([`${made(story)} staging`, `${made(story)} archived`]);
      expect(story.state.timers).toEqual({});
    }
  });

  it('that is cancelled or times out while people decide its canary takes the version out of staging', () => {
    for (const end of [(story: Story) => story.cancel(), (story: Story) => story.timeOut()]) {
      const story = watching();
      story.verdict('inconclusive');
      end(story);
      expect(promotions(story)).toEqual([`${made(story)} staging`, `${made(story)} archived`]);
    }
  });

  it('of a model with no version in production skips the canary', () => {
    const story = at({ promote: true, canary }, false);
    expect(promotions(story)).toEqual([`${made(story)} prod`]);
    expect(splits(story)).toEqual([]);
  });

  it('with both asks first and watches then; the ticket of the one does not answer for the other', () => {
    const story = at(FULL_RELEASE);
    story.vote('release', 'ann');
    story.vote('release', 'bob');
    expect(story.machineState).toBe('canary');
    story.verdict('inconclusive');
    expect(story.machineState).toBe('decidingCanary');
    expect(story.state.approvals?.['canary']?.digest).not.toBe(story.state.approvals?.['release']?.digest);
    // The same two people have to agree again.
    story.vote('canary', 'ann');
    expect(story.machineState).toBe('decidingCanary');
    story.vote('canary', 'bob');
    expect(story.status).toBe('COMPLETED');
  });
});
