import { Counter, Histogram } from 'prom-client';
import { LATENCY_BUCKETS_S, type Registry } from '#lib/service/metrics.ts';
import type { App } from './app-types.ts';

export interface HttpMetrics {
  readonly requests: Histogram<'method' | 'route' | 'status'>;
  readonly submits: Counter<'type' | 'outcome'>;
}

export function httpMetrics(registry: Registry): HttpMetrics {
  return {
    requests: new Histogram({
      name: 'trainyard_http_request_seconds',
      help: 'Requests by route and status; the sum and buckets are seconds until the response was sent.',
      labelNames: ['method', 'route', 'status'],
      buckets: LATENCY_BUCKETS_S,
      registers: [registry],
    }),
    submits: new Counter({
      name: 'trainyard_job_submits_total',
      help: 'Submissions by outcome: created, existing, dryRun, or the code of the refusal.',
      labelNames: ['type', 'outcome'],
      registers: [registry],
    }),
  };
}

/** Routes are labelled by pattern and unknown ones as one, so that no client can make new series. */
export function observeRequests(app: App, metrics: HttpMetrics): void {
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown';
    metrics.requests.observe(
      { method: request.method, route, status: String(reply.statusCode) },
      reply.elapsedTime / 1_000,
    );
    request.log.debug({ method: request.method, route, status: reply.statusCode, ms: reply.elapsedTime }, 'request');
  });
}
