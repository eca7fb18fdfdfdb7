import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Promotion, PromotionLedger, PromotionRequest } from './port.ts';

/** One empty ledger. */
export interface PromotionLedgerHarness {
  /** Another client of the same ledger, as in another process. */
  open(): PromotionLedger;
  close(): Promise<void>;
}

const request = (version: number, change: Partial<PromotionRequest> = {}): PromotionRequest => ({
  project: 'demo',
  model: 'tales',
  version,
  stage: 'prod',
  jobId: null,
  requestedBy: 'key-1',
  reason: 'better',
  atMs: 1_000,
  ...change,
});
const back = { project: 'demo', model: 'tales', requestedBy: 'key-2', reason: 'worse', atMs: 2_000 };

const prodOf = async (ledger: PromotionLedger): Promise<number[]> =>
  [...(await ledger.stages('demo', 'tales'))].filter(([, stage]) => stage === 'prod').map(([version]) => version);

/** What every promotion ledger promises. */
export function promotionLedgerContract(name: string, start: () => Promise<PromotionLedgerHarness>): void {
  const open = { harness: undefined as unknown as PromotionLedgerHarness };
  describe(`promotion ledger: ${name}`, () => {
    beforeEach(async () => {
      open.harness = await start();
    });
    afterEach(() => open.harness.close());
    promotions(open);
    rollbacks(open);
    pushes(open);
  });
}

type Open = { readonly harness: PromotionLedgerHarness };

function promotions(open: Open): void {
  it('PL-1, PL-2: rows are numbered, and a promotion archives the version that was prod', async () => {
    const ledger = open.harness.open();
    expect(await ledger.promote(request(1))).toMatchObject({ seq: 1, kind: 'promote', formerVersion: null });
    expect(await ledger.promote(request(2))).toMatchObject({ seq: 2, formerVersion: 1, syncedAtMs: null });
    expect(await ledger.stages('demo', 'tales')).toEqual(
      new Map([
        [1, 'archived'],
        [2, 'prod'],
      ]),
    );
    expect(await ledger.stages('demo', 'other')).toEqual(new Map());
  });

  it('PL-1: racing promotions of two processes leave one in prod and a ledger without gaps', async () => {
    const ledger = open.harness.open();
    const other = open.harness.open();
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? ledger : other).promote(request(1 + (i % 5)))),
    );
    const rows = await ledger.history('demo', 'tales', { limit: 100 });
    expect(rows.map(({ seq }) => seq)).toEqual(Array.from({ length: 20 }, (_, i) => 20 - i));
    expect(await prodOf(ledger)).toEqual([rows[0]?.version]);
  });

  it('PL-3: a job promotes a version to a stage once', async () => {
    const ledger = open.harness.open();
    await ledger.promote(request(1, { jobId: 'a' }));
    await ledger.promote(request(2, { jobId: 'b' }));
    expect(await ledger.promote(request(1, { jobId: 'a' }))).toBeNull();
    expect(await prodOf(ledger)).toEqual([2]);
    expect(await ledger.promote(request(1, { jobId: 'a', stage: 'staging' }))).toMatchObject({ stage: 'staging' });
  });
}

function rollbacks(open: Open): void {
  it('PL-4: rollback walks back to the first, and then says that there is nothing before it', async () => {
    const ledger = open.harness.open();
    for (const version of [1, 2, 3]) await ledger.promote(request(version));
    const first = await ledger.rollback(back);
    expect(first).toMatchObject({ ok: true, promotion: { version: 2, formerVersion: 3, kind: 'rollback', seq: 4 } });
    expect(await ledger.rollback(back)).toMatchObject({ ok: true, promotion: { version: 1 } });
    expect(await ledger.rollback(back)).toEqual({ ok: false, reason: 'NothingBefore' });
    expect(await prodOf(ledger)).toEqual([1]);
  });

  it('PL-4: a request that names the version it rolls back is carried out once', async () => {
    const ledger = open.harness.open();
    for (const version of [1, 2, 3]) await ledger.promote(request(version));
    const answers = await Promise.all([1, 2, 3].map(() => ledger.rollback({ ...back, fromVersion: 3 })));
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
    expect(answers.filter((answer) => !answer.ok && answer.reason === 'NotInProd')).toHaveLength(2);
    expect(await prodOf(ledger)).toEqual([2]);
  });

  it('history comes newest first, in pages', async () => {
    const ledger = open.harness.open();
    for (const version of [1, 2, 3]) await ledger.promote(request(version));
    const page = await ledger.history('demo', 'tales', { limit: 2 });
    expect(page.map(({ seq }) => seq)).toEqual([3, 2]);
    const next = await ledger.history('demo', 'tales', { limit: 2, before: 2 });
    expect(next).toEqual([
      expect.objectContaining({ seq: 1, version: 1, requestedBy: 'key-1', reason: 'better', atMs: 1_000 }),
    ]);
  });
}

function pushes(open: Open): void {
  it('PL-5, PL-6: rows are pushed in order per model by one process at a time, while others still promote and roll back', async () => {
    const ledger = open.harness.open();
    for (const version of [1, 2]) await ledger.promote(request(version));
    await ledger.promote(request(7, { model: 'other', atMs: 3_000 }));
    const pushed: string[] = [];
    const note = async ({ model, seq }: Promotion): Promise<void> => void pushed.push(`${model} ${seq}`);
    const hold = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const slow = ledger.pushNext(
      async (row) => {
        begun.resolve();
        await hold.promise;
        await note(row);
      },
      5_000,
      [],
    );
    await begun.promise;
    // The second process gets the other model's row and none of this one's, and a rollback is not kept waiting.
    const second = open.harness.open();
    expect(await second.pushNext(note, 5_000, [])).toBe(true);
    expect(await second.pushNext(note, 5_000, [])).toBe(false);
    expect(await second.rollback(back)).toMatchObject({ ok: true, promotion: { version: 1 } });
    hold.resolve();
    await slow;
    for (let more = true; more; ) more = await second.pushNext(note, 6_000, []);
    expect(pushed).toEqual(['other 1', 'tales 1', 'tales 2', 'tales 3']);
    expect((await ledger.history('demo', 'tales', { limit: 9 })).map(({ syncedAtMs }) => syncedAtMs)).toEqual([
      6_000, 6_000, 5_000,
    ]);
  });

  it('PL-6: a row whose push failed comes again, and models can be left out', async () => {
    const ledger = open.harness.open();
    await ledger.promote(request(1));
    const failing = ledger.pushNext(() => Promise.reject(new Error('down')), 1, []);
    await expect(failing).rejects.toThrow('down');
    expect(await ledger.pushNext(async () => undefined, 1, ['demo/tales'])).toBe(false);
    expect(await ledger.pushNext(async () => undefined, 1, [])).toBe(true);
  });
}
