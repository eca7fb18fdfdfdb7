import type { MetricPoint } from '#lib/model-registry/port.ts';
import { whenRegistryServes } from '#lib/worker/registry-wait.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';

/** Points of a curve sent to the registry at once; MLflow's limit. */
const METRICS_PER_CALL = 1_000;

/** The points of curve files, one JSON object a line; where files overlap (a resume repeats steps) the later file's value counts, then `more`. */
export function pointsOfCurves(files: readonly string[], more: readonly MetricPoint[] = []): MetricPoint[] {
  const points = new Map<string, MetricPoint>();
  for (const text of files)
    for (const line of text.split('\n')) {
      const point = parsePoint(line);
      if (point !== null) points.set(keyOf(point), point);
    }
  for (const point of more) points.set(keyOf(point), point);
  return [...points.values()];
}

/** Sends the points to the run. Idempotent. */
export async function logCurve(
  platform: WorkerPlatform,
  { project, runId }: { readonly project: string; readonly runId: string },
  points: readonly MetricPoint[],
  signal: AbortSignal,
): Promise<void> {
  for (let at = 0; at < points.length; at += METRICS_PER_CALL)
    await whenRegistryServes(platform, signal, (registry) =>
      registry.logMetrics(project, runId, points.slice(at, at + METRICS_PER_CALL)),
    );
}

const keyOf = ({ name, step }: MetricPoint): string => `${name}\u0000${step}`;

/** Null for an empty line and for one that a killed worker left half written. */
function parsePoint(line: string): MetricPoint | null {
  try {
    const point = JSON.parse(line) as MetricPoint;
    return typeof point.name === 'string' && Number.isInteger(point.step) && Number.isFinite(point.value)
      ? point
      : null;
  } catch {
    return null;
  }
}
