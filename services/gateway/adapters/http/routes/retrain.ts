/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import { Type } from '#typebox';
import { IdempotencyKey, Name } from '#lib/contracts/jobs.ts';
import { RetrainPolicy } from '#lib/contracts/retrain-policy.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { sortableId } from '../../../app/ids.ts';
import { checkPolicyJob } from '../../../app/retrain-signals.ts';
import { checkRetrainPolicy } from '../../../domain/retrain-policy-rules.ts';
import { findSignal } from '../../postgres/drift-queries.ts';
import { deletePolicy, PostgresRetrainStore, readPolicy, writePolicy } from '../../postgres/retrain-store.ts';
import { principalOf, projectOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { policyView, signalView } from '../drift-views.ts';
import { type Body, ProjectQuery, problems, ref } from '../schemas.ts';

const InProject = Type.Object(ProjectQuery, { additionalProperties: false });
const ModelName = Type.Object({ name: Name });
const tags = ['drift'];
const POLICY_PATH = '/v1/models/:name/retrain-policy';

const ManualSignal = Type.Object(
  {
    idempotencyKey: Type.Optional(IdempotencyKey),
    modelVersion: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 })),
    reason: Type.String({ maxLength: 500, default: '', description: 'for people' }),
  },
  {
    additionalProperties: false,
    default: {},
    examples: [{ idempotencyKey: 'new-labels-2026-11', reason: 'new labels' }],
  },
);

/** When models are trained again: their policies, and a person's wish. */
export function retrainRoutes(app: App, services: HttpServices): void {
  policyRoutes(app, services);
  deletePolicyRoute(app, services);
  manualRoute(app, services);
}

function policyRoutes(app: App, { database, gateway }: HttpServices): void {
  app.get(
    POLICY_PATH,
    {
      schema: {
        tags,
        summary: 'The retrain policy of a model',
        params: ModelName,
        querystring: InProject,
        response: { 200: ref('StoredRetrainPolicy'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'StoredRetrainPolicy'>> => {
      const project = projectOf(request, 'viewer', request.query.project, '/query/project');
      const found = await readPolicy(database, project, request.params.name);
      return policyView(found ?? noPolicy(request.params.name));
    },
  );
  app.put(
    POLICY_PATH,
    {
      schema: {
        tags,
        summary: 'Create or replace the retrain policy of a model',
        description:
          'Its jobs are those of this key, which therefore cannot approve them. The spec is checked as if one were submitted now; the budget is not.',
        params: ModelName,
        querystring: InProject,
        body: RetrainPolicy,
        response: { 200: ref('StoredRetrainPolicy'), 201: ref('StoredRetrainPolicy'), ...problems(400, 404, 413, 415) },
      },
    },
    async (request, reply): Promise<Body<'StoredRetrainPolicy'>> => {
      const project = projectOf(request, 'submitter', request.query.project, '/query/project');
      const { name: model } = request.params;
      const nowMs = gateway.now();
      const verdict = checkRetrainPolicy(model, request.body, nowMs);
      if (!verdict.ok)
        throw new TrainyardError('ValidationFailed', 'the policy cannot be followed as it is', {
          fields: verdict.fields,
        });
      await requireProject(gateway, project);
      const by = principalOf(request).keyId;
      await checkPolicyJob(gateway, { project, model, spec: request.body.spec, by });
      const write = { project, model, policy: request.body, nextFireAtMs: verdict.nextFireAtMs, by, nowMs };
      const created = await writePolicy(database, write);
      request.log.info({ project, model, by, created }, 'retrain policy changed');
      reply.code(created ? 201 : 200);
      return policyView((await readPolicy(database, project, model)) ?? noPolicy(model));
    },
  );
}

function deletePolicyRoute(app: App, { database }: HttpServices): void {
  app.delete(
    POLICY_PATH,
    {
      schema: {
        tags,
        summary: 'Delete the retrain policy of a model; drift is watched on, running retrains go on',
        params: ModelName,
        querystring: InProject,
        response: { 204: { description: 'deleted', type: 'null' }, ...problems(404) },
      },
    },
    async (request, reply) => {
      const project = projectOf(request, 'submitter', request.query.project, '/query/project');
      const { name: model } = request.params;
      if (!(await deletePolicy(database, project, model))) noPolicy(model);
      request.log.info({ project, model, by: principalOf(request).keyId }, 'retrain policy deleted');
      return reply.code(204).send();
    },
  );
}

function manualRoute(app: App, { database, gateway }: HttpServices): void {
  app.post(
    '/v1/models/:name/retrain',
    {
      schema: {
        tags,
        summary: 'Ask for a retrain now',
        description:
          'A signal like that of drift, without its threshold and cooldown; the running retrain and the budget of the policy apply. The drift monitor decides: `GET /v1/drift/signals` shows what it said. The same idempotency key is the same signal.',
        params: ModelName,
        querystring: InProject,
        body: ManualSignal,
        response: { 202: ref('DriftSignal'), ...problems(400, 404, 409, 415) },
      },
    },
    async (request, reply): Promise<Body<'DriftSignal'>> => {
      const project = projectOf(request, 'submitter', request.query.project, '/query/project');
      const { name: model } = request.params;
      const { idempotencyKey, modelVersion, reason } = request.body;
      if ((await readPolicy(database, project, model)) === null) noPolicy(model);
      if (modelVersion !== undefined && (await gateway.registry.getVersion(project, model, modelVersion)) === null)
        throw new TrainyardError('ValidationFailed', 'the signal is about a version that does not exist', {
          fields: [{ pointer: '/modelVersion', message: `model ${model} has no version ${modelVersion}` }],
        });
      const nowMs = gateway.now();
      const signalId = idempotencyKey ?? `manual-${sortableId(nowMs)}`;
      await new PostgresRetrainStore(database).request({
        project,
        signalId,
        model,
        version: modelVersion ?? null,
        source: 'manual',
        causes: [],
        evidence: { reason },
        requestedBy: principalOf(request).keyId,
        atMs: nowMs,
      });
      const row = await findSignal(database, project, signalId);
      if (row === null || row.model !== model || row.source !== 'manual')
        throw new TrainyardError('IdempotencyConflict', 'the idempotency key was used before for another signal');
      reply.code(202);
      return signalView(row);
    },
  );
}

function noPolicy(model: string): never {
  throw new TrainyardError('NotFound', `there is no retrain policy for model ${model}`);
}

async function requireProject({ datasets }: HttpServices['gateway'], project: string): Promise<void> {
  if (!(await datasets.projectExists(project))) throw new TrainyardError('NotFound', `there is no project ${project}`);
}
