import { hash } from 'node:crypto';
import * as fc from 'fast-check';
import { Value } from '#typebox/value';
import { describe, expect, test } from 'vitest';
import { PreprocessConfig } from '#lib/contracts/preprocess-config.ts';
import { prepareDocument } from '#lib/datasets/documents/prepared-document.ts';
import type { SourceDocument } from '#lib/datasets/documents/source-document.ts';
import { documentSelection, type Fate, splitOf } from './preprocessing.ts';

const digest = (text: string): string => hash('sha256', text);
const config = (change: Partial<PreprocessConfig> = {}): PreprocessConfig => ({
  ...Value.Parse(PreprocessConfig, Value.Default(PreprocessConfig, {})),
  ...change,
});
const text = (value: string): SourceDocument => ({ prompt: '', text: value });

function fatesOf(documents: readonly SourceDocument[], settings: PreprocessConfig): Fate[] {
  const selection = documentSelection(settings, digest);
  return documents.map((document) => selection.decide(prepareDocument(document, settings)));
}

const documents = fc.array(
  fc.record({
    prompt: fc.constantFrom('', 'Q', 'Another question'),
    text: fc.string({ unit: 'grapheme', maxLength: 40 }),
  }),
);

describe('preparing a document', () => {
  test('trims a text on both sides but a completion only at its end', () => {
    expect(prepareDocument(text('  a \n'), config())).toEqual({ prompt: '', text: 'a', cut: false });
    expect(prepareDocument({ prompt: ' Q: ', text: ' A ' }, config())).toEqual({
      prompt: ' Q: ',
      text: ' A',
      cut: false,
    });
  });
  test('cuts what is longer than maxCharacters, the prompt counted', () => {
    expect(prepareDocument(text('x'.repeat(30)), config({ maxCharacters: 16 })).text).toHaveLength(16);
    expect(prepareDocument({ prompt: 'p'.repeat(10), text: 'x'.repeat(30) }, config({ maxCharacters: 16 }))).toEqual({
      prompt: 'p'.repeat(10),
      text: 'x'.repeat(6),
      cut: true,
    });
  });
});

describe('selecting documents', () => {
  const page = (n: number): string => Array.from({ length: 60 }, (_, i) => `word${n}x${i}`).join(' ');

  test('drops what is shorter than minCharacters, prompt and completion together', () => {
    expect(fatesOf([text('too short'), text('   ')], config())).toEqual(['tooShort', 'tooShort']);
    expect(fatesOf([{ prompt: 'What is two plus two?', text: '4' }], config())).not.toContain('tooShort');
  });
  test('drops a row whose prompt leaves no room for the completion', () => {
    expect(fatesOf([{ prompt: 'p'.repeat(20), text: 'answer' }], config({ maxCharacters: 20 }))).toEqual(['tooLong']);
  });
  test('keeps the first of documents that are equal once normalised', () => {
    const [first, second, third] = fatesOf(
      [text(`${page(1)}\r\nend`), text(page(2)), text(`${page(1)} \nend\n`)],
      config(),
    );
    expect([first, second]).not.toContain('exactDuplicates');
    expect(third).toBe('exactDuplicates');
  });
  test('takes prompt and completion apart when it looks for equal rows', () => {
    const rows = [
      { prompt: 'abcdefghijklmnop', text: 'q' },
      { prompt: 'abcdefghijklmno', text: 'pq' },
    ];
    expect(fatesOf(rows, config({ nearDuplicateThreshold: 1 }))).not.toContain('exactDuplicates');
  });
  test('drops near duplicates, unless the threshold is 1', () => {
    const pair = [text(`${page(1)} ${page(2)}`), text(`${page(1)} ${page(2)} more`)];
    expect(fatesOf(pair, config())[1]).toBe('nearDuplicates');
    expect(fatesOf(pair, config({ nearDuplicateThreshold: 1 }))[1]).not.toBe('nearDuplicates');
  });
  test('decides the same for the same documents', () => {
    fc.assert(
      fc.property(documents, (all) => {
        expect(fatesOf(all, config({ minCharacters: 3 }))).toEqual(fatesOf(all, config({ minCharacters: 3 })));
      }),
    );
  });
  test('never changes the split of a document because of other documents or their order', () => {
    fc.assert(
      fc.property(documents, documents, fc.nat(), (all, others, pick) => {
        const settings = config({ minCharacters: 1, validationFraction: 0.5 });
        const mixed = [...others, ...all.toSorted((a, b) => (digest(a.text + pick) < digest(b.text + pick) ? -1 : 1))];
        const splits = new Map<string, Fate>();
        const note = (document: SourceDocument, fate: Fate | undefined): void => {
          if (fate !== 'train' && fate !== 'validation') return;
          const key = JSON.stringify([document.prompt, prepareDocument(document, settings).text]);
          expect(splits.get(key) ?? fate).toBe(fate);
          splits.set(key, fate);
        };
        for (const set of [all, mixed])
          fatesOf(set, settings).forEach((fate, i) => {
            note(set[i] as SourceDocument, fate);
          });
      }),
    );
  });
});

describe('the split', () => {
  test('holds out the share asked for', () => {
    for (const validationFraction of [0.05, 0.1, 0.5]) {
      const held = Array.from({ length: 4_000 }, (_, i) =>
        splitOf(text(`document ${i}`), config({ validationFraction }), digest),
      );
      const share = held.filter((split) => split === 'validation').length / held.length;
      expect(Math.abs(share - validationFraction)).toBeLessThan(0.025);
    }
  });
  test('never parts the completions of one prompt', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string(), fc.string(), (prompt, a, b) => {
        const of = (completion: string) =>
          splitOf({ prompt, text: completion }, config({ validationFraction: 0.5 }), digest);
        expect(of(a)).toBe(of(b));
      }),
    );
  });
  test('only moves documents to validation when the fraction grows', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.double({ min: 0.01, max: 0.5, noNaN: true }),
        fc.double({ min: 0.01, max: 0.5, noNaN: true }),
        (value, a, b) => {
          const of = (validationFraction: number) => splitOf(text(value), config({ validationFraction }), digest);
          expect([of(Math.min(a, b)), of(Math.max(a, b))]).not.toEqual(['validation', 'train']);
        },
      ),
    );
  });
  test('is another with another seed', () => {
    const of = (seed: number): string =>
      Array.from({ length: 200 }, (_, i) => splitOf(text(`document ${i}`), config({ seed }), digest)).join();
    expect(of(1)).not.toBe(of(2));
    expect(of(1)).toBe(of(1));
  });
});
