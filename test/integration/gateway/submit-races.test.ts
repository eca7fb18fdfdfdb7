import { afterAll, beforeAll, expect, it } from 'vitest';
import { fineTune, type Harness, problemOf, startGateway } from './gateway-harness.ts';

let gateway: Harness;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

const count = async (sql: string, ...values: unknown[]): Promise<number> =>
  Number((await gateway.database.query<{ n: number }>(sql, values)).rows[0]?.n);
const commands = (workflowId: string): Promise<number> =>
  count(`select count(*) as n from bus_messages where topic = 'orchestrator.commands' and key = $1`, workflowId);

it('200 identical submits in parallel are one job, one reservation and one start command', async () => {
  const { submitter } = await gateway.project('crowd');
  const body = fineTune({ idempotencyKey: 'once' });
  const answers = await Promise.all(
    Array.from({ length: 200 }, () => gateway.call('/v1/jobs', { key: submitter, body })),
  );
  const statuses = answers.map(({ status }) => status);
  expect(statuses.filter((status) => status === 201)).toHaveLength(1);
  expect(statuses.filter((status) => status === 200)).toHaveLength(199);
  expect(new Set(answers.map(({ body }) => body['id'])).size).toBe(1);
  expect(await commands('wf-fine_tune-crowd.once')).toBe(1);
  expect(await count(`select count(*) as n from budget_ledger where project = 'crowd'`)).toBe(1);
  const estimate = Number(answers[0]?.body['gpuSecondsEstimate']);
  expect(await count(`select gpu_seconds_reserved as n from projects where id = 'crowd'`)).toBe(estimate);
});

it('two bodies racing for one key: one job, and everybody with the other body gets a conflict', async () => {
  const { submitter } = await gateway.project('duel');
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      gateway.call('/v1/jobs', { key: submitter, body: fineTune({ idempotencyKey: 'mine' }, { seed: i % 2 }) }),
    ),
  );
  const tally = (status: number): number => answers.filter((answer) => answer.status === status).length;
  expect([tally(201), tally(200), tally(409)]).toEqual([1, 19, 20]);
});

it('20 parallel submits with a budget for 3: exactly 3 are accepted, and the others are told the numbers', async () => {
  const probe = await gateway.project('probe');
  const dry = await gateway.call('/v1/jobs?dryRun=true', { key: probe.submitter, body: fineTune() });
  const estimate = Number(dry.body['gpuSecondsEstimate']);
  const budget = estimate * 3.5;
  const { submitter } = await gateway.project('poor', { gpuSecondsBudget: budget });
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      gateway.call('/v1/jobs', { key: submitter, body: fineTune({ idempotencyKey: `job-${i}` }) }),
    ),
  );
  const refused = answers.filter(({ status }) => status !== 201);
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(3);
  for (const answer of refused) {
    expect(problemOf(answer)).toMatchObject({ status: 402, code: 'BudgetExhausted' });
    expect(answer.body).toMatchObject({ gpuSecondsEstimate: estimate, gpuSecondsBudget: budget, gpuSecondsUsed: 0 });
  }
  expect(await count(`select count(*) as n from jobs where project = 'poor'`)).toBe(3);
  expect(await count(`select gpu_seconds_reserved as n from projects where id = 'poor'`)).toBe(3 * estimate);
  expect(await count(`select sum(gpu_seconds_reserved) as n from budget_ledger where project = 'poor'`)).toBe(
    3 * estimate,
  );
  // What was refused for money may come again under the same key once there is some.
  await gateway.call('/v1/projects/poor', { method: 'PUT', body: { gpuSecondsBudget: 100 * estimate } });
  const index = answers.findIndex(({ status }) => status === 402);
  const retried = await gateway.call('/v1/jobs', {
    key: submitter,
    body: fineTune({ idempotencyKey: `job-${index}` }),
  });
  expect(retried.status).toBe(201);
});

it('many different jobs in parallel, two projects on the same topics, all go through', async () => {
  const left = await gateway.project('left');
  const right = await gateway.project('right');
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      gateway.call('/v1/jobs', {
        key: i % 2 === 0 ? left.submitter : right.submitter,
        body: fineTune({ idempotencyKey: `k${i}` }),
      }),
    ),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 100 }, () => 201));
});
