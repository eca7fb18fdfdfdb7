/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import { Type } from '#typebox';
import { castVote, findApproval } from '../../../app/approvals.ts';
import { ApprovalIdText, VoteBody } from '../../../domain/vote-body.ts';
import { APPROVAL_STATUSES } from '../../../domain/vote-rules.ts';
import { principalOf, scopeOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { approvalPosition, decodeCursor, encodeCursor } from '../cursor.ts';
import { type Body, PageQuery, ProjectQuery, problems, ref } from '../schemas.ts';
import { approvalView } from '../views.ts';

const ApprovalId = Type.Object({ id: ApprovalIdText });
const tags = ['approvals'];

export function approvalRoutes(app: App, services: HttpServices): void {
  listRoute(app, services);
  const { approvals } = services;
  app.get(
    '/v1/approvals/:id',
    {
      schema: {
        tags,
        summary: 'A ticket, with the votes that counted',
        params: ApprovalId,
        response: { 200: ref('Approval'), ...problems(404) },
      },
    },
    async (request) => approvalView(await findApproval(approvals, request.params.id, scopeOf(request, 'viewer'))),
  );
  for (const decision of ['approve', 'reject'] as const) voteRoute(app, services, decision);
}

function listRoute(app: App, { approvals }: HttpServices): void {
  app.get(
    '/v1/approvals',
    {
      schema: {
        tags,
        summary: 'Tickets, newest first',
        querystring: Type.Object(
          {
            ...ProjectQuery,
            ...PageQuery,
            status: Type.Array(Type.Unsafe<string>({ type: 'string', enum: [...APPROVAL_STATUSES] }), {
              default: [],
              maxItems: APPROVAL_STATUSES.length,
              description: 'any of these',
            }),
            job: Type.Optional(Type.String({ maxLength: 128, description: 'id of the job that asks' })),
          },
          { additionalProperties: false },
        ),
        response: { 200: ref('ApprovalPage'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'ApprovalPage'>> => {
      const { project: named, status: statuses, job = null, limit, cursor } = request.query;
      const project = scopeOf(request, 'viewer', named);
      const after = decodeCursor(cursor, approvalPosition);
      const { items, next } = await approvals.list({ project, statuses, jobId: job }, { limit, after });
      return { items: items.map(approvalView), nextCursor: next === null ? null : encodeCursor(next) };
    },
  );
}

function voteRoute(app: App, { gateway, approvals }: HttpServices, decision: 'approve' | 'reject'): void {
  app.post(
    `/v1/approvals/:id/${decision}`,
    {
      schema: {
        tags,
        summary: decision === 'approve' ? 'Vote for it' : 'Vote against it: one rejection ends it',
        description:
          'Needs the role approver. Answers at once (202); the vote counts when the ticket shows it. The same vote again is 200, another one 409. Never by the key that submitted the job (403). When the version or a report about it has changed since, the ticket is voided (409).',
        params: ApprovalId,
        body: VoteBody,
        response: { 200: ref('Approval'), 202: ref('Approval'), ...problems(400, 404, 409, 415) },
      },
    },
    async (request, reply) => {
      // Another project's ticket is not found, whatever the role; then the role counts.
      const { id } = request.params;
      await findApproval(approvals, id, scopeOf(request, 'viewer'));
      const project = scopeOf(request, 'approver');
      const { digest, comment = null } = request.body;
      const by = principalOf(request).keyId;
      const { ticket, repeated } = await castVote(gateway, approvals, { id, project, by, decision, comment, digest });
      reply.code(repeated ? 200 : 202);
      return approvalView(ticket);
    },
  );
}
