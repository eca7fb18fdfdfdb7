import { createHash } from 'node:crypto';
import { TrainyardError } from '#lib/kernel/errors.ts';

/** A model of ours; `namespace` is '' for the default one. */
export interface ModelPlace {
  readonly namespace: string;
  readonly project: string;
  readonly name: string;
}

/** Longest name of a registered model and of an experiment in MLflow's schema. */
const MAX_NAME_CHARACTERS = 256;

/**
 * The registered model's name: `<project>.<name>`, behind `<namespace>~.` when there is one. Reversible, since what a project has besides
 * letters, digits, _ and - is written as ~ and two hexadecimal digits a byte. MLflow refuses `/` and `:`.
 */
export function registeredModelName({ namespace, project, name }: ModelPlace): string {
  const prefix = namespace === '' ? '' : `${namespace}~.`;
  return bounded(`${prefix}${escaped(project)}.${name}`, '/project');
}

/** The experiment of a project: `trainyard/<project>`, or `trainyard:<namespace>/<project>`. */
export const experimentName = (namespace: string, project: string): string =>
  bounded(`trainyard${namespace === '' ? '' : `:${namespace}`}/${project}`, '/project');

/** What a run is found by in a search: unlike the run's id it never holds a quote, which MLflow's filters cannot escape. */
export const runKey = (namespace: string, project: string, runId: string): string =>
  createHash('sha256')
    .update(JSON.stringify([namespace, project, runId]))
    .digest('hex');

const escaped = (text: string): string =>
  [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9_-]/.test(character) ? character : `~${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');

function bounded(name: string, pointer: string): string {
  if (name.length <= MAX_NAME_CHARACTERS) return name;
  const message = `is too long for MLflow: its name there has ${name.length} characters, at most ${MAX_NAME_CHARACTERS}`;
  throw new TrainyardError('ValidationFailed', `${pointer} ${message}`, { fields: [{ pointer, message }] });
}
