import type { ResolvedDataset, ResolvedModel } from '#lib/contracts/jobs.ts';
import type { ReleaseSettings } from '#lib/contracts/release.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import type { Role } from './access.ts';

/** A dataset that a spec names; `pointer` is where, for people whose name is wrong. */
export interface DatasetReference {
  readonly name: string;
  readonly version: number | 'latest';
  readonly pointer: string;
}

/** A model version that a spec names: `name@stage` or `name/version`. */
export interface NamedModel {
  readonly reference: string;
  readonly pointer: string;
}

/** Stored artifacts that a spec names by their manifest. */
export interface NamedArtifacts {
  readonly manifestKey: string;
  readonly digest: string;
  readonly pointer: string;
}

/** What a spec refers to, by role; the findings have the same roles. */
export interface References {
  /** At least one. */
  readonly datasets: Readonly<Record<string, DatasetReference>>;
  readonly models?: Readonly<Record<string, NamedModel>>;
  readonly artifacts?: Readonly<Record<string, NamedArtifacts>>;
  /** The model whose version in production is asked for; `orNewest`: the newest one where none is there. */
  readonly champion?: { readonly model: string; readonly orNewest: boolean };
  /** The model whose last retrain is asked for. */
  readonly lastRetrainOf?: string;
  /** Whose approvers are looked up, and the role behind it. */
  readonly release?: ReleaseSettings | undefined;
}

/** The shape of a model, as `register_model` records it in the version's tag `architecture`. */
export interface Architecture {
  readonly layers: number;
  readonly heads: number;
  readonly embeddingSize: number;
  readonly contextLength: number;
  readonly vocabularySize: number;
}

/** What a dataset turned out to be, within the job's project. */
export type DatasetFinding =
  | { readonly found: true; readonly dataset: ResolvedDataset }
  | { readonly found: false; readonly missing: 'name' | 'version' };

/** What a model version turned out to be, within the job's project. */
export type ModelFinding =
  | { readonly kind: 'absent' }
  /** The registry has the version but not what it takes to load it. */
  | { readonly kind: 'unusable'; readonly reason: string }
  | { readonly kind: 'model'; readonly model: ResolvedModel; readonly architecture: Architecture | null };

/** What stored artifacts turned out to be: null = usable, else why they are not. */
export type ArtifactsFinding = { readonly refusal: string | null };

export interface Champion {
  readonly version: number;
  readonly stage: string;
  readonly finding: ModelFinding;
}

/** What the references of a spec turned out to be, and who asks. */
export interface Findings {
  readonly datasets: Readonly<Record<string, DatasetFinding>>;
  readonly models: Readonly<Record<string, ModelFinding>>;
  readonly artifacts: Readonly<Record<string, ArtifactsFinding>>;
  /** Null: none, or not asked for. */
  readonly champion: Champion | null;
  /** When the last retrain was taken in, epoch ms; null: never, or not asked for. */
  readonly lastRetrainAtMs: number | null;
  /** Key id; null: nobody who could approve anything. */
  readonly submittedBy: string | null;
  /** Who stands behind a release and who may approve it; null: no release was asked for that needs to know. */
  readonly people: ReleasePeople | null;
}

export interface ReleasePeople {
  /** Of whoever submits; of a policy's job, of whoever wrote the policy. Null: no key (any more). */
  readonly role: Role | null;
  /** Those of the named approvers that may approve in the project. */
  readonly approvers: ReadonlySet<string>;
}

export const datasetIn = (findings: Findings, role: string): DatasetFinding =>
  findings.datasets[role] ?? { found: false, missing: 'name' };

export const modelIn = (findings: Findings, role: string): ModelFinding => findings.models[role] ?? { kind: 'absent' };

type Formats = 'text' | 'preferences';

/** Why a dataset cannot be used: it is not there, or it holds preferences where texts are needed, or the reverse. */
export function checkDataset(
  { name, version, pointer }: DatasetReference,
  finding: DatasetFinding,
  needed: Formats,
): FieldError[] {
  if (!finding.found)
    return finding.missing === 'name'
      ? [at(`${pointer}/name`, `there is no dataset ${name} in the project`)]
      : [at(`${pointer}/version`, `dataset ${name} has no version ${version}`)];
  const { format } = finding.dataset;
  if (needed === 'text' && format === 'jsonl_preferences')
    return [at(pointer, 'holds pairs of preference (jsonl_preferences); this needs text')];
  if (needed === 'preferences' && format !== 'jsonl_preferences')
    return [at(pointer, `is of format ${format}; this needs pairs of preference (jsonl_preferences)`)];
  return [];
}

/** Why a model version cannot be used: it is not there, or cannot be loaded. */
export function checkModel({ reference, pointer }: NamedModel, finding: ModelFinding): FieldError[] {
  if (finding.kind === 'unusable') return [at(pointer, finding.reason)];
  return finding.kind === 'absent' ? [at(pointer, `there is no model ${reference} in the project`)] : [];
}

export const at = (pointer: string, message: string): FieldError => ({ pointer, message });
