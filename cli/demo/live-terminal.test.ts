import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { demoConsole } from './console.ts';
import { jobDisplay } from './follow-job.ts';
import { advance } from './job-progress.ts';
import { LiveTerminal } from './live-terminal.ts';
import { trainingAt } from './test-scene.ts';
import { span } from './text-style.ts';

function terminal(columns: number, rows = 24) {
  const stream = Object.assign(new PassThrough({ encoding: 'utf8' }), { isTTY: true, columns, rows });
  return { stream: stream as unknown as NodeJS.WriteStream, size: stream, written: () => String(stream.read() ?? '') };
}

describe('lines drawn in place', () => {
  it('replace those drawn before', () => {
    const { stream, written } = terminal(80);
    const live = new LiveTerminal(stream, false);
    live.draw([[span('one')], [span('two')]]);
    written();
    live.draw([[span('three')]]);
    expect(written()).toBe('\u001B[?25l\r\u001B[2Athree\u001B[K\n\u001B[J');
  });

  it('count as more rows after the window has become narrower', () => {
    const { stream, size, written } = terminal(80);
    const live = new LiveTerminal(stream, false);
    live.draw([[span('x'.repeat(70))]]);
    size.columns = 40;
    written();
    live.draw([]);
    expect(written()).toContain('\u001B[2A');
  });

  it('let other lines scroll above them, and stay with a visible cursor in the end', () => {
    const { stream, written } = terminal(80);
    const live = new LiveTerminal(stream, false);
    live.draw([[span('bar')]]);
    written();
    live.print('a crash');
    expect(written()).toBe('\r\u001B[1A\u001B[Ja crash\n\u001B[?25l\rbar\u001B[K\n\u001B[J');
    live.keep();
    expect(written()).toBe('\u001B[?25h');
    live.print('after');
    expect(written()).toBe('\r\u001B[Jafter\n');
  });
});

describe('the console of the demo', () => {
  const progress = advance(null, trainingAt(20, 1_612), 'Job 1 of 2');
  const shownOn = (scene: ReturnType<typeof terminal>, environment: Record<string, string>): string => {
    demoConsole(scene.stream, environment).show(jobDisplay(progress));
    return scene.written();
  };

  it('draws with colours on a terminal, without them under NO_COLOR', () => {
    expect(shownOn(terminal(100), {})).toContain('\u001B[32m');
    const plain = shownOn(terminal(100), { NO_COLOR: '1' });
    expect(plain).toContain('run_training');
    for (const code of [1, 2, 31, 32, 33, 36, 0]) expect(plain).not.toContain(`\u001B[${code}m`);
  });

  it('writes plain lines into a pipe and on a dumb terminal', () => {
    const pipe = terminal(100);
    pipe.size.isTTY = false;
    for (const text of [shownOn(pipe, {}), shownOn(terminal(100), { TERM: 'dumb' })]) {
      expect(text).toContain('GPU run_training: begins');
      expect(text).not.toContain('\u001B');
    }
  });
});
