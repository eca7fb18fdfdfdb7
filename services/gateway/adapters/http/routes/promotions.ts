/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import { Type } from '#typebox';
import { Name } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { mayPromote } from '#lib/promotion/safety-gate.ts';
import { principalOf, projectOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { decodeCursor, encodeCursor, integerPosition } from '../cursor.ts';
import { StageName } from '../promotion-schemas.ts';
import { promotionView, splitView } from '../promotion-views.ts';
import { type Body, PageQuery, ProjectQuery, problems, ref } from '../schemas.ts';

const InProject = Type.Object(ProjectQuery, { additionalProperties: false });
const Query = Type.Object({ ...ProjectQuery, ...PageQuery }, { additionalProperties: false });
const ModelName = Type.Object({ name: Name });
const Reason = Type.String({ maxLength: 1_000, default: '', description: 'for the ledger' });
const VersionNumber = Type.Integer({ minimum: 1, maximum: 2_147_483_647 });
const tags = ['models'];

/** Splits shown besides the open one. */
const PAST_SPLITS = 20;

/** Stages of model versions: the ledger decides, the model registry follows by itself. */
export function promotionRoutes(app: App, services: HttpServices): void {
  historyRoutes(app, services);
  rollbackRoute(app, services);
  promoteRoute(app, services);
}

function historyRoutes(app: App, { promotions, traffic, gateway }: HttpServices): void {
  /** Asked only about a model that the ledger does not know: it answers while the registry is away. */
  const requireModel = async (project: string, model: string): Promise<void> => {
    if ((await gateway.registry.listVersions(project, model, { limit: 1 })).length === 0)
      throw new TrainyardError('NotFound', `there is no model ${model}`);
  };
  app.get(
    '/v1/models/:name/promotions',
    {
      schema: {
        tags,
        summary: 'The promotion ledger of a model, newest first',
        params: ModelName,
        querystring: Query,
        response: { 200: ref('PromotionPage'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'PromotionPage'>> => {
      const { project: named, limit, cursor } = request.query;
      const project = projectOf(request, 'viewer', named, '/query/project');
      const before = decodeCursor(cursor, integerPosition);
      const page = { limit: limit + 1, ...(before === null ? {} : { before }) };
      const found = await promotions.history(project, request.params.name, page);
      if (found.length === 0 && before === null) await requireModel(project, request.params.name);
      const shown = found.slice(0, limit);
      const last = shown.at(-1);
      return {
        items: shown.map(promotionView),
        nextCursor: found.length > limit && last !== undefined ? encodeCursor(last.seq) : null,
      };
    },
  );
  app.get(
    '/v1/models/:name/traffic',
    {
      schema: {
        tags,
        summary: 'Which versions answer: the one in prod, the open canary, and canaries of the past',
        params: ModelName,
        querystring: InProject,
        response: { 200: ref('ModelTraffic'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'ModelTraffic'>> => {
      const { name: model } = request.params;
      const project = projectOf(request, 'viewer', request.query.project, '/query/project');
      const [{ prodVersion }, splits] = await Promise.all([
        traffic.trafficOf(project, model),
        traffic.splitsOf(project, model, PAST_SPLITS + 1),
      ]);
      if (prodVersion === null && splits.length === 0) await requireModel(project, model);
      const open = splits.find(({ endedAtMs }) => endedAtMs === null);
      const past = splits.filter((split) => split !== open).slice(0, PAST_SPLITS);
      return {
        project,
        model,
        prodVersion,
        split: open === undefined ? null : splitView(open),
        pastSplits: past.map(splitView),
      };
    },
  );
}

function rollbackRoute(app: App, { promotions, gateway }: HttpServices): void {
  app.post(
    '/v1/models/:name/rollback',
    {
      schema: {
        tags,
        summary: 'Put the version back into prod that was there before (approver)',
        params: ModelName,
        querystring: InProject,
        body: Type.Object(
          {
            reason: Reason,
            fromVersion: Type.Optional({
              ...VersionNumber,
              description: 'only if this version is in prod: the request can then be repeated',
            }),
          },
          { additionalProperties: false, default: {} },
        ),
        response: { 200: ref('Promotion'), ...problems(400, 404, 409, 415) },
      },
    },
    async (request): Promise<Body<'Promotion'>> => {
      const { name: model } = request.params;
      const { reason, fromVersion } = request.body;
      const project = projectOf(request, 'approver', request.query.project, '/query/project');
      const requestedBy = principalOf(request).keyId;
      const asked = { project, model, requestedBy, reason, atMs: gateway.now() };
      const rollback = await promotions.rollback(fromVersion === undefined ? asked : { ...asked, fromVersion });
      if (!rollback.ok)
        throw rollback.reason === 'NotInProd'
          ? new TrainyardError('StateConflict', `version ${fromVersion} of ${model} is not in prod`)
          : new TrainyardError('NothingToRollBackTo', `no version of ${model} was in prod before the present one`);
      const { version, formerVersion } = rollback.promotion;
      request.log.warn({ project, model, version, formerVersion, by: requestedBy }, 'model rolled back');
      return promotionView(rollback.promotion);
    },
  );
}

function promoteRoute(app: App, { promotions, gateway }: HttpServices): void {
  app.post(
    '/v1/models/:name/versions/:version/promote',
    {
      schema: {
        tags,
        summary: 'Bring a version into a stage (admin); prod archives the version that was there',
        params: Type.Object({ name: Name, version: Type.String({ pattern: '^[1-9][0-9]{0,8}$' }) }),
        querystring: InProject,
        body: Type.Object({ stage: StageName, reason: Reason }, { additionalProperties: false }),
        response: { 200: ref('Promotion'), ...problems(400, 404, 409, 415) },
      },
    },
    async (request): Promise<Body<'Promotion'>> => {
      const { name: model } = request.params;
      const version = Number(request.params.version);
      const { stage, reason } = request.body;
      const project = projectOf(request, 'admin', request.query.project, '/query/project');
      const found = await gateway.registry.getVersion(project, model, version);
      if (found === null) throw new TrainyardError('NotFound', `model ${model} has no version ${version}`);
      if (!mayPromote(found.tags, stage))
        throw new TrainyardError('SafetyGateFailed', `version ${version} of ${model} did not pass its safety gate`);
      const requestedBy = principalOf(request).keyId;
      const asked = { project, model, version, stage, jobId: null, requestedBy, reason, atMs: gateway.now() };
      const promotion = await promotions.promote(asked);
      if (promotion === null) throw new TrainyardError('StateConflict', `${model}/${version} was promoted already`);
      request.log.info({ project, model, version, stage, by: requestedBy }, 'model version promoted');
      return promotionView(promotion);
    },
  );
}
