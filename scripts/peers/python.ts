import { join } from 'node:path';
import { type PeerCache, PeerUnavailable } from './cache.ts';
import { findTool, runTool } from './tools.ts';

export interface PythonPackages {
  /** For the error of a machine whose Python will not do: `MLflow 3.17.2`. */
  readonly what: string;
  /** The oldest 3.x that the packages run on. */
  readonly oldestMinor: number;
  /** As pip takes them: `optuna==5.0.0`. */
  readonly packages: readonly string[];
}

/** The Python of the virtual environment in an installation's folder. */
export const pythonOf = (folder: string): string => join(folder, 'venv', 'bin', 'python');

/** Makes a virtual environment in the folder, with the packages; returns its Python. Throws `PeerUnavailable` without a Python 3 that will do. */
export async function buildPythonEnvironment(
  cache: PeerCache,
  folder: string,
  { what, oldestMinor, packages }: PythonPackages,
): Promise<string> {
  const python = await findTool('python3', `install ${what}`, cache.environment);
  const version = await runTool(cache, {
    command: python,
    args: ['-c', 'import sys, venv, ensurepip; print(*sys.version_info[:2])'],
    cwd: folder,
  });
  const [major = 0, minor = 0] = version.trim().split(' ').map(Number);
  if (major !== 3 || minor < oldestMinor)
    throw new PeerUnavailable(`${what} needs Python 3.${oldestMinor} or newer: python3 is ${major}.${minor}`);
  await runTool(cache, { command: python, args: ['-m', 'venv', join(folder, 'venv')], cwd: folder });
  // As modules of that Python: the scripts in bin/ name the folder they were installed in, which is about to get its final name.
  await runTool(cache, {
    command: pythonOf(folder),
    args: ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages],
    cwd: folder,
    attempts: 2,
  });
  return pythonOf(folder);
}
