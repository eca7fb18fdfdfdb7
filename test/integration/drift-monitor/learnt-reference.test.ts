import { afterAll, beforeAll, expect, it } from 'vitest';
import { PostgresReferences } from '../../../services/drift-monitor/adapters/postgres-references.ts';
import { LEARN_FROM, learnReferences } from '../../../services/drift-monitor/app/learn-references.ts';
import { NOW, openScene, type Scene, windowful } from './drift-scene.ts';

let scene: Scene;
let references: PostgresReferences;
beforeAll(async () => {
  scene = await openScene();
  references = new PostgresReferences(scene.database);
});
afterAll(() => scene.close());

const WINDOWS = Math.ceil(LEARN_FROM / 300);
const calm = (model: string, windows: number) =>
  Array.from({ length: windows }, (_, at) => windowful(model, at)).flat();
const outcomes = async (model: string): Promise<string[]> =>
  (await scene.signals(model)).map(({ outcome, reason }) => reason ?? outcome);

it('a version without a reference is compared with its own beginning in production, once there is enough of it', async () => {
  await scene.policy('retrained');
  await scene.take(scene.intake(), calm('retrained', WINDOWS - 1));
  expect(await learnReferences(references, NOW)).toEqual([]);
  await scene.take(scene.intake(), calm('retrained', WINDOWS + 1).slice((WINDOWS - 1) * 300));
  expect(await learnReferences(references, NOW)).toEqual([{ project: 'demo', model: 'retrained', version: 1 }]);
  // One is enough.
  expect(await learnReferences(references, NOW)).toEqual([]);

  const before = (await outcomes('retrained')).length;
  const later = [
    windowful('retrained', WINDOWS + 2),
    ...[3, 4, 5].map((at) => windowful('retrained', WINDOWS + at, { shift: 0.3 })),
    windowful('retrained', WINDOWS + 7, { count: 1 }),
  ].flat();
  await scene.take(scene.intake(), later);
  expect((await outcomes('retrained')).slice(before)).toEqual([
    'BelowThreshold',
    'NotPersistent',
    'signalled',
    'NotPersistent',
  ]);
});

it('nothing is learnt of a model without a policy in force, nor in the place of a reference that was stored', async () => {
  await scene.policy('switched-off', {}, false);
  await scene.take(scene.intake(), [...calm('switched-off', WINDOWS + 1), ...calm('nobodys', WINDOWS + 1)]);
  expect(await learnReferences(references, NOW)).toEqual([]);
  await scene.policy('switched-off');
  await scene.reference('switched-off');
  expect(await learnReferences(references, NOW)).toEqual([]);
});
