import { expect, test } from 'vitest';
import { parseModelReference } from './model-reference.ts';

test.each([
  ['tales', { kind: 'routed', model: 'tales' }],
  ['tales@prod', { kind: 'routed', model: 'tales' }],
  ['tales/12', { kind: 'version', model: 'tales', version: 12 }],
  ['tales@staging', { kind: 'alias', model: 'tales', alias: 'staging' }],
])('%s is %j', (text, reference) => {
  expect(parseModelReference(text)).toEqual(reference);
});

test.each(['', '/1', 'tales/', 'tales/0', 'tales/x', 'a b', 'tales@', 'a/1@prod', 'a@b@c'])('%j is none', (text) => {
  expect(parseModelReference(text)).toBeNull();
});
