/**
 * The serving process: `fork`ed by the GPU worker at the first completion, ended when nobody asked for a while. It knows folders, no addresses.
 * `node main.ts <models in memory> <threads>`; requests and answers come over the channel of `fork`, and its end is ours.
 */
import { Value } from '#typebox/value';
import { ServeRequest } from './messages.ts';
import { serving } from './serve.ts';

const [, , models = '', threads = ''] = process.argv;
const answer = serving({ models: Number(models), threads: Number(threads) });

process.on('disconnect', () => process.exit(0));
process.on('SIGTERM', () => process.exit(0));
// Ctrl-C reaches the whole group; the worker ends us when it has stopped.
process.on('SIGINT', () => undefined);
process.on('message', (message) => {
  if (!Value.Check(ServeRequest, message)) return;
  void answer(message).then((reply) => process.send?.(reply));
});
