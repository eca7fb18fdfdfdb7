import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import { type FastifyBaseLogger, fastify, LogController } from 'fastify';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { sortableId } from '../../app/ids.ts';
import { identifyCallers, requireKey } from './access.ts';
import { describeApi } from './api-document.ts';
import type { App, HttpServices } from './app-types.ts';
import { PROBLEM_TYPE, sendProblem } from './errors.ts';
import { observeRequests } from './http-metrics.ts';
import { acceptOnlyJson } from './json-body.ts';
import { completionRoutes } from './routes/completions.ts';
import { approvalRoutes } from './routes/approvals.ts';
import { datasetRoutes } from './routes/datasets.ts';
import { driftRoutes } from './routes/drift.ts';
import { jobDetailRoutes } from './routes/job-details.ts';
import { jobSignalRoutes } from './routes/job-signals.ts';
import { jobRoutes } from './routes/jobs.ts';
import { modelRoutes } from './routes/models.ts';
import { laneRoutes, openRoutes } from './routes/platform.ts';
import { promotionRoutes } from './routes/promotions.ts';
import { projectRoutes } from './routes/projects.ts';
import { trialRoutes } from './routes/trials.ts';
import { retrainRoutes } from './routes/retrain.ts';
import { validatorCompiler } from './validation.ts';

/** A job is text; data goes up as a dataset version. */
const BODY_LIMIT_BYTES = 1_048_576;
/** Of a part of a path; those of tickets and signals are the longest, and a character may take three as it is written. */
const LONGEST_ID = 1_024;
const VERSION = '0.1.0';

/** The REST interface, ready to listen or to be injected into. */
export async function buildServer(services: HttpServices): Promise<App> {
  const app = createServer(services);
  app.setValidatorCompiler(validatorCompiler);
  // Responses are typed; their schemas are for the document. A text (metrics) goes out as it is.
  app.setSerializerCompiler(() => (value) => (typeof value === 'string' ? value : JSON.stringify(value)));
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  acceptOnlyJson(app);
  observeRequests(app, services.httpMetrics);
  app.addHook('onSend', async (request, reply) => {
    void reply.header('x-request-id', request.id);
  });
  await app.register(helmet, { hsts: false });
  identifyCallers(app, services.authenticator);
  await limitRates(app, services);
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      new TrainyardError('NotFound', `there is no ${request.method} ${request.url.slice(0, 200)}`),
      request,
      reply,
    ),
  );
  await describeApi(app, VERSION);
  openRoutes(app, services);
  await app.register(async (scope) => {
    const v1 = scope as unknown as App;
    requireKey(v1);
    jobRoutes(v1, services);
    jobDetailRoutes(v1, services);
    jobSignalRoutes(v1, services);
    trialRoutes(v1, services);
    approvalRoutes(v1, services);
    datasetRoutes(v1, services);
    modelRoutes(v1, services);
    promotionRoutes(v1, services);
    completionRoutes(v1, services);
    driftRoutes(v1, services);
    retrainRoutes(v1, services);
    projectRoutes(v1, services);
    laneRoutes(v1, services);
  });
  await app.ready();
  return app;
}

function createServer({ limits, logger }: HttpServices): App {
  return fastify({
    loggerInstance: logger as unknown as FastifyBaseLogger,
    // One line per request is written by `observeRequests`.
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: LONGEST_ID },
    bodyLimit: BODY_LIMIT_BYTES,
    handlerTimeout: limits.requestTimeoutMs,
    // Of the whole request on the socket; uploads are the longest.
    requestTimeout: limits.uploadTimeoutMs,
    // Above the idle timeout of usual load balancers (60 s), which else reuse a connection that is just being closed.
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    genReqId: () => sortableId(Date.now()),
    // Errors before routing: a path that does not decode.
    frameworkErrors: (error, request, reply) => {
      void sendProblem(error, request, reply);
    },
    clientErrorHandler: (error, socket) => {
      if (error.code === 'ECONNRESET' || socket.destroyed) return;
      const timedOut = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
      const status = timedOut ? '408 Request Timeout' : '400 Bad Request';
      const code = timedOut ? 'RequestTimeout' : 'MalformedJson';
      const detail = timedOut ? 'the request took too long to arrive' : 'the request is not HTTP';
      const body = JSON.stringify({
        type: `/errors/${code}`,
        title: detail,
        status: Number(status.slice(0, 3)),
        detail,
        code,
      });
      socket.end(
        `HTTP/1.1 ${status}\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
    },
  });
}

/** Keys seen at once; the oldest is forgotten first. */
const RATE_LIMIT_KEYS = 10_000;

async function limitRates(app: App, { limits }: HttpServices): Promise<void> {
  if (limits.requestsPerMinute === 0) return;
  await app.register(rateLimit, {
    max: limits.requestsPerMinute,
    timeWindow: 60_000,
    cache: RATE_LIMIT_KEYS,
    keyGenerator: (request) => request.principal?.keyId ?? request.ip,
    // Probes must not starve because a client behind the same address is busy.
    allowList: (request) => request.url === '/healthz' || request.url === '/readyz' || request.url === '/metrics',
    errorResponseBuilder: (_request, { max, ttl }) =>
      new TrainyardError('RateLimited', `more than ${max} requests a minute`, {
        details: { limit: max, retryAfterSeconds: Math.ceil(ttl / 1_000) },
      }),
  });
}
