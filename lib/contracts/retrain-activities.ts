import { Type } from '#typebox';
import { Name, ResolvedDataset } from './jobs.ts';
import { RetrainSpec } from './retrain-job.ts';

/**
 * The rows that a retrain trains on, stored as a dataset file of the same format with a manifest of row hashes beside it. No row occurs
 * in an excluded set (by SHA-256 of its canonical text); `incremental` also leaves out the rows of `former`.
 */
const AssembleTrainingData = {
  input: Type.Object({
    jobId: Type.String(),
    project: Name,
    dataset: ResolvedDataset,
    mode: RetrainSpec.properties.data.properties.mode,
    minimumRows: Type.Integer({ minimum: 1 }),
    exclude: Type.Array(ResolvedDataset),
    /** Version in production, whose row manifest or dataset says what is not new; null = everything is. */
    former: Type.Union([Type.Object({ name: Name, version: Type.Integer({ minimum: 1 }) }), Type.Null()]),
  }),
  output: Type.Object({
    dataset: ResolvedDataset,
    /**
     * Row hashes, sorted, one a line; stored beside the file and named in the tags of the new version. For `incremental` the known rows are
     * among them: what a model trained on both has seen, of which the next retrain takes nothing for new.
     */
    rowManifest: Type.Object({ key: Type.String(), digest: Type.String() }),
    rows: Type.Integer(),
    excludedRows: Type.Integer(),
    knownRows: Type.Integer(),
  }),
};

/** The version in production now, by the promotion ledger: what a canary is compared with. Asked when it matters, not when the job was taken in. */
const FindChampion = {
  input: Type.Object({ model: Name }),
  output: Type.Object({ version: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()]) }),
};

export const RETRAIN_ACTIVITIES = {
  find_champion: FindChampion,
  assemble_training_data: AssembleTrainingData,
} as const;
