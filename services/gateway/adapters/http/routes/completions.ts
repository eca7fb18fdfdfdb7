/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import type { FastifyReply } from 'fastify';
import { Type } from '#typebox';
import { Name } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { type CompletionAnswer, completeText } from '../../../app/complete.ts';
import { parseModelReference } from '../../../domain/model-reference.ts';
import { projectOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { CompletionBody, OpenAiCompletionBody } from '../completion-schemas.ts';
import { type Body, ProjectQuery, problems, ref } from '../schemas.ts';

const InProject = Type.Object(ProjectQuery, { additionalProperties: false });
const RoutingKey = Type.Object({
  'x-routing-key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 512,
      description: 'requests with the same key are answered by the same version as long as a canary runs',
    }),
  ),
});
const tags = ['completions'];

/** Registered models answer, split between a canary and its baseline while a workflow asks for that. */
export function completionRoutes(app: App, services: HttpServices): void {
  ownRoute(app, services);
  openAiRoute(app, services);
}

function ownRoute(app: App, { completions }: HttpServices): void {
  app.post(
    '/v1/models/:name/completions',
    {
      schema: {
        tags,
        summary: 'Continue a text with a model in prod, or with its canary',
        params: Type.Object({ name: Name }),
        querystring: InProject,
        headers: RoutingKey,
        body: CompletionBody,
        response: { 200: ref('Completion'), ...problems(400, 404, 409, 413, 415, 502) },
      },
    },
    async (request, reply): Promise<Body<'Completion'>> => {
      const { version, ...generation } = request.body;
      const answer = await completeText(completions, {
        ...generation,
        project: projectOf(request, 'viewer', request.query.project, '/query/project'),
        model: request.params.name,
        target: version === undefined ? { kind: 'routed' } : { kind: 'version', version },
        routingKey: request.headers['x-routing-key'] ?? null,
      });
      sayVersion(reply, answer);
      return answer;
    },
  );
}

function openAiRoute(app: App, { completions }: HttpServices): void {
  app.post(
    '/v1/completions',
    {
      schema: {
        tags,
        summary: "The same for clients of OpenAI's API",
        querystring: InProject,
        headers: RoutingKey,
        body: OpenAiCompletionBody,
        response: { 200: ref('OpenAiCompletion'), ...problems(400, 404, 409, 413, 415, 502) },
      },
    },
    async (request, reply): Promise<Body<'OpenAiCompletion'>> => {
      const { model: text, prompt, max_tokens: maxTokens, temperature, seed, stop, user } = request.body;
      const reference = parseModelReference(text);
      if (reference === null)
        throw new TrainyardError('ValidationFailed', 'the model is no reference', {
          fields: [{ pointer: '/model', message: 'is not name, name/version or name@alias' }],
        });
      const answer = await completeText(completions, {
        project: projectOf(request, 'viewer', request.query.project, '/query/project'),
        model: reference.model,
        target: reference,
        routingKey: request.headers['x-routing-key'] ?? user ?? null,
        prompt,
        maxTokens,
        temperature,
        stop: typeof stop === 'string' ? [stop] : (stop ?? []),
        ...(seed === undefined ? {} : { seed }),
      });
      sayVersion(reply, answer);
      return openAiView(answer, completions.now());
    },
  );
}

const sayVersion = (reply: FastifyReply, { version, arm }: CompletionAnswer): void => {
  void reply.header('x-model-version', String(version)).header('x-model-arm', arm);
};

const openAiView = (answer: CompletionAnswer, nowMs: number): Body<'OpenAiCompletion'> => ({
  id: `cmpl-${answer.id}`,
  object: 'text_completion',
  created: Math.floor(nowMs / 1_000),
  model: `${answer.model}/${answer.version}`,
  choices: [{ text: answer.text, index: 0, logprobs: null, finish_reason: answer.finishReason }],
  usage: {
    prompt_tokens: answer.promptTokens,
    completion_tokens: answer.completionTokens,
    total_tokens: answer.promptTokens + answer.completionTokens,
  },
});
