import type { FastifyInstance } from 'fastify';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { jsonErrorPosition } from '../../domain/json-position.ts';
import { unstorable } from '../../domain/storable.ts';

/** The only content type with a parser: anything else is 415. A body that does not parse is refused with the place where it went wrong. */
export function acceptOnlyJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
    void parse(request, body, (error: Error | null, value?: unknown) => {
      if (error === null || error === undefined) return done(refusalOf(value), value);
      // Over the size limit the parser is not reached; what is left is syntax.
      done(new TrainyardError('MalformedJson', whereItBreaks(body)));
    });
  });
}

/** Text that no table takes is refused at the door, for every route. */
function refusalOf(value: unknown): TrainyardError | null {
  const fields = unstorable(value);
  return fields.length === 0
    ? null
    : new TrainyardError('ValidationFailed', 'the body contains text that cannot be stored', { fields });
}

function whereItBreaks(body: string): string {
  if (body.trim() === '') return 'the body is empty';
  const position = jsonErrorPosition(body);
  if (position === null) return 'the body has a member named __proto__ or constructor.prototype';
  const lines = body.slice(0, position).split('\n');
  return `the body is not valid JSON at position ${position} (line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1})`;
}
