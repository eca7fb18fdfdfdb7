import type { Activity, FineTuneResult, Job, ModelVersion } from './api-answers.ts';
import type { LearningCurves } from './learning-curves.ts';

/** Everything the API says about a job that has completed. */
export interface JobRecord {
  readonly job: Job;
  readonly activities: readonly Activity[];
  readonly result: FineTuneResult;
  readonly version: ModelVersion;
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[];
  readonly curves: LearningCurves;
}
