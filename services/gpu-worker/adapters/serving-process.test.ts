import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../../../test/support/eventually.ts';
import { writeTinyModel } from '../serving/test-support/tiny-model.ts';
import { temporaryFolder } from '../trainer/test-support/program.ts';
import { ServingProcess } from './serving-process.ts';
import { childEnvironment } from '../../../test/support/child-environment.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let place: { dir: string; adapterDir: string };
beforeAll(async () => {
  folder = await temporaryFolder();
  place = await writeTinyModel(folder.path);
});
afterAll(() => folder[Symbol.asyncDispose]());

const opened: ServingProcess[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
});
const open = (idleMs = 60_000): ServingProcess => {
  const made = new ServingProcess({ environment: childEnvironment(), models: 2, threads: 1, idleMs });
  opened.push(made);
  return made;
};
const request = { prompt: 'Call me', maxTokens: 4, temperature: 1, seed: 3, stop: [] };
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('the serving process', () => {
  it('runs from the first request on, answers many, and ends when nobody asks', async () => {
    const serving = open(200);
    expect(serving.pid).toBeNull();
    const answers = await Promise.all([1, 2, 3].map(() => serving.complete(place, request)));
    expect(answers).toEqual(Array.from({ length: 3 }, () => ({ ok: true, completion: expect.anything() })));
    expect(answers[1]).toEqual(answers[0]);
    const { pid } = serving;
    await eventually(() => pid !== null && !isAlive(pid));
    expect(serving.pid).toBeNull();
    expect(await serving.complete(place, request)).toEqual(answers[0]);
  });

  it('that is killed fails the requests that wait, and the next one starts another', async () => {
    const serving = open();
    await serving.complete(place, request);
    const long = serving.complete(place, { ...request, maxTokens: 31 });
    const refused = long.catch((error: unknown) => error);
    process.kill(serving.pid ?? 0, 'SIGKILL');
    expect(await refused).toMatchObject({ code: 'InferenceUnavailable', retryable: true });
    expect(await serving.complete(place, request)).toMatchObject({ ok: true });
  });

  it('says what is wrong with a folder and goes on', async () => {
    const serving = open();
    expect(await serving.complete({ dir: folder.path }, request)).toMatchObject({
      ok: false,
      problem: { code: 'TrainerDataMissing', retryable: false },
    });
    expect(await serving.complete(place, request)).toMatchObject({ ok: true });
  });

  it('takes only so many requests at once, and none after it was closed', async () => {
    const serving = open();
    const answers = await Promise.allSettled(Array.from({ length: 70 }, () => serving.complete(place, request)));
    expect(answers.filter(({ status }) => status === 'rejected')).toHaveLength(6);
    const { pid } = serving;
    await serving.close();
    expect(isAlive(pid ?? 0)).toBe(false);
    await expect(serving.complete(place, request)).rejects.toMatchObject({ code: 'InferenceUnavailable' });
  });
});
