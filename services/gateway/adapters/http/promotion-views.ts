import type { Promotion } from '#lib/promotion/port.ts';
import type { TrafficSplit } from '#lib/serving/port.ts';
import type { Body } from './schemas.ts';

const time = (epochMs: number): string => new Date(epochMs).toISOString();
const timeOrNull = (epochMs: number | null): string | null => (epochMs === null ? null : time(epochMs));

export const promotionView = ({ atMs, syncedAtMs, ...promotion }: Promotion): Body<'Promotion'> => ({
  ...promotion,
  at: time(atMs),
  syncedAt: timeOrNull(syncedAtMs),
});

export const splitView = (split: TrafficSplit): NonNullable<Body<'ModelTraffic'>['split']> => ({
  jobId: split.jobId,
  canaryVersion: split.canaryVersion,
  baselineVersion: split.baselineVersion,
  weightPercent: split.weightPercent,
  startedAt: time(split.startedAtMs),
  endedAt: timeOrNull(split.endedAtMs),
  outcome: split.outcome,
  watch: split.watch,
});
