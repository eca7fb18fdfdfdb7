import { digestOf } from './artifacts.ts';
import type { SimDatabase } from './sim-database.ts';
import type { RegistryTable } from './sim-model-registry.ts';
import { SIMULATION_STARTS_MS } from './simulator.ts';

/** In production when a run begins: what retrains start from and canaries are compared with. */
export const IN_PRODUCTION = 'in-production';
/** Registered and nowhere: a base of alignments, a subject of evaluations. */
export const BASE_MODEL = 'base-model';

/** Who registered and promoted them: no job of the run. */
const BEFORE = 'before';

const TAGS = {
  technique: 'full',
  architecture: JSON.stringify({ layers: 1, heads: 1, embeddingSize: 8, contextLength: 64, vocabularySize: 300 }),
};

/** Models that a project has before the first job comes in. */
export function addFirstModels(project: string, models: RegistryTable, database: SimDatabase): void {
  for (const name of [IN_PRODUCTION, BASE_MODEL]) {
    const digest = digestOf(`${project}/${name}`);
    const lineage = {
      jobId: BEFORE,
      runId: BEFORE,
      datasetName: 'corpus',
      datasetVersion: '1',
      datasetDigest: digest,
      configDigest: digest,
      codeCommit: BEFORE,
      baseModelDigest: digest,
      evaluationReportDigest: digest,
      manifestDigest: digest,
    };
    const manifestKey = `artifacts/${project}/${BEFORE}/${name}/manifest.json`;
    models.create({ project, name, sourceKey: BEFORE, manifestKey, lineage, tags: TAGS }, BEFORE, SIMULATION_STARTS_MS);
  }
  const promotion = { project, model: IN_PRODUCTION, version: 1, stage: 'prod', jobId: null };
  database.releases.promote({ ...promotion, requestedBy: BEFORE, reason: BEFORE, atMs: SIMULATION_STARTS_MS });
}
