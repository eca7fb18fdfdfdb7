import type { OpenTraffic, TrafficShare } from './split.ts';

/** A canary split, open or over. */
export interface TrafficSplit extends TrafficShare {
  readonly project: string;
  readonly model: string;
  readonly workflowId: string;
  readonly startedAtMs: number;
  /** Null while it is open; then `outcome` is null, too. */
  readonly endedAtMs: number | null;
  readonly outcome: string | null;
  /** What the canary watch saw last (lib/statistics/canary.ts: CanaryState); null before its first look. */
  readonly watch: unknown;
}

/** Who answers whose requests, as workflows decided it. Read only: splits are opened and closed with the commits of their workflows. */
export interface TrafficStore {
  /** Of a model without promotions and splits: nothing in prod, no split. */
  trafficOf(project: string, model: string): Promise<OpenTraffic>;
  /** Newest first. */
  splitsOf(project: string, model: string, limit: number): Promise<TrafficSplit[]>;
}
