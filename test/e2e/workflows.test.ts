import { beforeAll, describe, expect, it } from 'vitest';
import type { Body } from '../../services/gateway/adapters/http/schemas.ts';
import { e2ePlatform } from '../support/e2e/platform.ts';
import { RestClient } from '../support/e2e/rest-client.ts';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';
import {
  otherText,
  tinyAlignment,
  tinyEvaluation,
  tinyPairs,
  tinyRetrain,
  tinySearch,
} from '../support/e2e/tiny-workflows.ts';
import { eventually } from '../support/eventually.ts';

const get = e2ePlatform({ overrides: { 'gpu-worker': { GPU_SLOTS: '2' } } });

let client: RestClient;

/** One project with a base of two versions: `base/1` and `base/2`. */
beforeAll(async () => {
  client = await get().project('flows');
  await client.upload('other', otherText(2));
  await client.upload('newer', otherText(3));
  await client.upload('pairs', tinyPairs(), 'jsonl_preferences');
  for (const [key, base] of [
    ['first', undefined],
    ['second', { model: 'base/1' }],
  ] as const) {
    const job = await client.submit(tinyJob({ key, model: 'base', ...(base === undefined ? {} : { base }) }));
    await client.finishedAs(job.id, 'COMPLETED');
  }
}, 60_000);

describe('eval_only', () => {
  it('compares a version with another one on the same items, and attaches the report', async () => {
    const job = await client.submit(tinyEvaluation('compare', 'base@dev', ['base/1']));
    const { result } = (await client.finishedAs(job.id, 'COMPLETED')) as { result: EvalAnswer };
    expect(result.subject).toBe('base/2');
    const [compared] = result.comparisons;
    expect(compared?.label).toBe('base/1');
    const score = compared?.metrics.find(({ name }) => name === 'held_out.bits_per_byte');
    expect(score?.delta).toBeCloseTo((score?.value ?? 0) - (score?.baselineValue ?? 0), 9);
    expect(score?.deltaStandardError).toBeGreaterThan(0);
    const markdown = (await get().store.get(result.evaluation.markdown.key)).toString('utf8');
    expect(markdown).toContain('base/1');
    const version = (await client.versions('base')).find((found) => found.version === 2);
    expect(JSON.stringify(version?.tags)).toContain(result.evaluation.report.digest);
  });
});

interface EvalAnswer {
  readonly subject: string;
  readonly evaluation: { readonly report: { readonly digest: string }; readonly markdown: { readonly key: string } };
  readonly comparisons: readonly {
    readonly label: string;
    readonly metrics: readonly {
      readonly name: string;
      readonly value: number;
      readonly baselineValue?: number;
      readonly delta?: number;
      readonly deltaStandardError?: number;
    }[];
  }[];
}

const SEARCHED = { model: 'searched', steps: 40 };

describe('hpo', () => {
  it('tries the same configurations and finds the same best one when its orchestrator is killed in the middle', async () => {
    const disturbed = await client.submit(tinySearch({ key: 'killed', ...SEARCHED }));
    await eventually(async () => (await trialsOf(disturbed.id)).some(({ status }) => status === 'COMPLETED'), {
      withinMs: 30_000,
    });
    await get().readyAgain('orchestrator', await get().killService('orchestrator'));
    const killed = await client.finishedAs(disturbed.id, 'COMPLETED');
    const quiet = await client.submit(tinySearch({ key: 'quiet', ...SEARCHED }));
    const undisturbed = await client.finishedAs(quiet.id, 'COMPLETED');
    const found = [killed, undisturbed].map(({ result }) => result as SearchAnswer);
    expect(found[0]?.trials.map(({ standing }) => standing)).toEqual(Array(4).fill('completed'));
    expect(found[0]?.trials.map(essence)).toEqual(found[1]?.trials.map(essence));
    expect(found[0]?.best.number).toBe(found[1]?.best.number);
    const versions = await client.versions('searched');
    expect(versions).toHaveLength(2);
    expect(new Set(versions.map(({ lineage }) => lineage['jobId']))).toEqual(
      new Set(found.map(({ best }) => best.jobId)),
    );
  });
});

interface SearchAnswer {
  readonly best: { readonly number: number; readonly jobId: string };
  readonly trials: readonly { readonly configuration: unknown; readonly standing: string; readonly value: number }[];
}
const essence = ({ configuration, value }: SearchAnswer['trials'][number]) => ({ configuration, value });
const trialsOf = async (id: string) => (await client.request<Body<'TrialList'>>(`/v1/jobs/${id}/trials`)).items;

describe('rlhf', () => {
  it('aligns by DPO through both gates and registers what it was made of', async () => {
    const job = await client.submit(tinyAlignment({ key: 'dpo', base: 'base/1', model: 'aligned', isSafe: true }));
    const { result } = await client.finishedAs(job.id, 'COMPLETED');
    expect(result).toMatchObject({
      rewardModel: null,
      safety: { gate: { passed: true } },
      evaluation: { gate: { passed: true } },
      model: { name: 'aligned', version: 1 },
    });
    const base = (await client.versions('base')).find(({ version }) => version === 1);
    const [version] = await client.versions('aligned');
    expect(version?.lineage).toMatchObject({ jobId: job.id, baseModelDigest: base?.lineage['manifestDigest'] });
  });

  it('ends SAFETY_FAILED behind a gate that nothing passes: quality is not asked, nothing is registered', async () => {
    const job = await client.submit(tinyAlignment({ key: 'unsafe', base: 'base/1', model: 'unsafe', isSafe: false }));
    const { result } = await client.finishedAs(job.id, 'SAFETY_FAILED');
    expect(result).toMatchObject({ safety: { gate: { passed: false } }, model: null });
    expect((await client.activities(job.id)).map(({ name }) => name)).not.toContain('run_quality_evaluation');
    expect(await client.versions('unsafe')).toEqual([]);
    await expect(client.request(`/v1/jobs/${job.id}/retry`, { json: {} })).rejects.toMatchObject({ status: 409 });
  });
});

const SERVED = { model: 'served', stormHours: 1, approvals: 1 };

describe('retrain', () => {
  it('waits for people, never for its submitter, and then puts the better version into prod', async () => {
    const first = await client.submit(tinyJob({ key: 'served', model: 'served' }));
    await client.finishedAs(first.id, 'COMPLETED');
    await client.request(`/v1/models/served/versions/1/promote?project=flows`, { json: { stage: 'prod' } });
    const job = await client.submit(tinyRetrain({ key: 'retrain', ...SERVED }));
    const ticket = await eventually(
      async () => {
        const path = `/v1/approvals?project=flows&job=${job.id}&status=open`;
        const [first] = (await client.request<Body<'ApprovalPage'>>(path)).items;
        if (first === undefined) throw new Error(`the retrain is in ${(await client.job(job.id)).step}`);
        return first;
      },
      { withinMs: 60_000 },
    );
    expect((await client.job(job.id)).status).toBe('AWAITING_APPROVAL');
    const approve = { method: 'POST', json: { digest: ticket.digest } };
    await expect(client.request(`/v1/approvals/${ticket.id}/approve`, approve)).rejects.toMatchObject({
      status: 403,
      problem: { code: 'ApprovalBySubmitter' },
    });
    await (await approver()).request(`/v1/approvals/${ticket.id}/approve`, approve);
    const { result } = await client.finishedAs(job.id, 'COMPLETED');
    expect(result).toMatchObject({
      champion: 1,
      model: { name: 'served', version: 2 },
      comparison: { decision: { better: true } },
      release: { promoted: true },
    });
    const { items } = await client.request<Body<'PromotionPage'>>('/v1/models/served/promotions?project=flows');
    expect(items.map(({ version, stage }) => `${version} ${stage}`)[0]).toBe('2 prod');
    const again = await client.submit(tinyRetrain({ key: 'at-once', ...SERVED }));
    await client.finishedAs(again.id, 'SKIPPED');
  });

  async function approver(): Promise<RestClient> {
    const json = { role: 'approver', name: 'a person' };
    const { key } = await client.request<{ key: string }>('/v1/projects/flows/keys', { json });
    return new RestClient({ baseUrl: () => get().platform.gatewayUrl, key: () => key, project: 'flows' });
  }
});
