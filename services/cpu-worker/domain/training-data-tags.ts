import type { DatasetFormat } from '#lib/contracts/jobs.ts';

/** Tags of a version that say what it was trained on, so that a retrain finds out which rows are new to it. */
const TAG = {
  datasetKey: 'trainyard.datasetKey',
  datasetFormat: 'trainyard.datasetFormat',
  rowManifestKey: 'trainyard.rowManifestKey',
  rowManifestDigest: 'trainyard.rowManifestDigest',
} as const;

const FORMATS: readonly DatasetFormat[] = ['text', 'jsonl_text', 'jsonl_prompt_completion', 'jsonl_preferences'];

export function trainingDataTags({
  dataset,
  rowManifest,
}: {
  readonly dataset: { readonly key: string; readonly format: DatasetFormat };
  readonly rowManifest?: { readonly key: string; readonly digest: string } | undefined;
}): Record<string, string> {
  return {
    [TAG.datasetKey]: dataset.key,
    [TAG.datasetFormat]: dataset.format,
    ...(rowManifest === undefined
      ? {}
      : { [TAG.rowManifestKey]: rowManifest.key, [TAG.rowManifestDigest]: rowManifest.digest }),
  };
}

export type KnownRows =
  | { readonly kind: 'manifest'; readonly key: string; readonly digest: string }
  | { readonly kind: 'dataset'; readonly key: string; readonly format: DatasetFormat; readonly sha256: string }
  /** Registered before these tags were. */
  | { readonly kind: 'unknown' };

/** Where the rows stand that a version knows: its row manifest, or without one the dataset of its lineage. */
export function knownRowsOf({
  tags,
  lineage,
}: {
  readonly tags: Readonly<Record<string, string>>;
  readonly lineage: { readonly datasetDigest: string };
}): KnownRows {
  const [key, digest] = [tags[TAG.rowManifestKey], tags[TAG.rowManifestDigest]];
  if (key !== undefined && digest !== undefined) return { kind: 'manifest', key, digest };
  const datasetKey = tags[TAG.datasetKey];
  const format = FORMATS.find((each) => each === tags[TAG.datasetFormat]);
  return datasetKey === undefined || format === undefined
    ? { kind: 'unknown' }
    : { kind: 'dataset', key: datasetKey, format, sha256: lineage.datasetDigest };
}
