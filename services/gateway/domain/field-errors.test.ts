import { assert, anything, property } from 'fast-check';
import { Type } from '#typebox';
import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { FineTuneSpec } from '#lib/contracts/jobs.ts';
import { explain } from './field-errors.ts';

const closed = { additionalProperties: false };
const Schema = Type.Object(
  {
    kind: Type.Union([Type.Literal('a'), Type.Literal('b')]),
    count: Type.Integer({ minimum: 1 }),
    version: Type.Union([Type.Integer(), Type.Literal('latest')]),
    source: Type.Union([Type.Object({ file: Type.String() }, closed), Type.Object({ url: Type.String() }, closed)]),
    steps: Type.Array(
      Type.Union([
        Type.Object({ do: Type.Literal('wait'), seconds: Type.Number() }, closed),
        Type.Object({ do: Type.Literal('say'), text: Type.String() }, closed),
      ]),
    ),
  },
  closed,
);
const GOOD = { kind: 'a', count: 1, version: 'latest', source: { file: 'f' }, steps: [{ do: 'say', text: 't' }] };
const explained = (change: Record<string, unknown>): string[] =>
  explain(Schema, { ...GOOD, ...change }).map(({ pointer, message }) => `${pointer} ${message}`);

describe('explain', () => {
  it.each([
    [{}, []],
    [{ kind: 'c' }, ['/kind must be one of "a", "b"']],
    [{ count: 0 }, ['/count must be >= 1']],
    [{ count: 'x' }, ['/count must be an integer']],
    [{ count: undefined }, ['/count is required']],
    [{ 'a/b~': 1 }, ['/a~1b~0 is not a known field']],
    [{ version: 'newest' }, ['/version must be an integer or "latest"']],
    [{ version: 1.5 }, ['/version must be an integer']],
    [{ source: {} }, ['/source must be exactly one of {file} or {url}']],
    [{ source: { file: 'f', url: 'u' } }, ['/source must be exactly one of {file} or {url}']],
    [{ source: { url: 7 } }, ['/source/url must be a string']],
    [{ source: { url: 'u', port: 1 } }, ['/source/port is not a known field']],
    [{ source: 'f' }, ['/source must be an object']],
    [{ steps: {} }, ['/steps must be an array']],
    [{ steps: [{ do: 'say' }] }, ['/steps/0/text is required']],
    [{ steps: [{ do: 'say', text: 't' }, { do: 'run' }] }, ['/steps/1/do must be one of "wait", "say"']],
    [{ steps: [{ text: 't' }] }, ['/steps/0/do is required and must be one of "wait", "say"']],
    [{ steps: [{ do: 'wait', seconds: 1, text: 't' }] }, ['/steps/0/text is not a known field']],
  ] as [Record<string, unknown>, string[]][])('%j', (change, messages) => {
    expect(explained(change)).toEqual(messages);
  });

  it('says something exactly when the schema refuses, whatever the value', () => {
    assert(
      property(anything(), anything(), (value, member) => {
        for (const candidate of [value, { ...GOOD, source: value }, { ...GOOD, steps: [value, member] }])
          expect(explain(Schema, candidate).length > 0).toBe(!Value.Check(Schema, candidate));
        const spec = { base: value, evaluation: { suites: [member] } };
        expect(explain(FineTuneSpec, spec).length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it('stops at 50 errors', () => {
    expect(explained({ steps: Array.from({ length: 1_000 }, () => 1) })).toHaveLength(50);
  });
});
