import { mulberry32 } from '#lib/kernel/random.ts';
import type { Completion, GenerationRequest } from '#lib/serving/inference-protocol.ts';
import { draw } from '../trainer/eval/sampling.ts';
import { derivedSeed, PURPOSE } from '../trainer/random.ts';
import type { LoadedModel } from './loaded-model.ts';

/**
 * Continues a prompt. The same request to the same model has the same answer. A prompt that leaves no room for the answer in the model's context
 * keeps its end; an empty one begins a document.
 */
export async function complete(model: LoadedModel, request: GenerationRequest): Promise<Completion> {
  const { decoder, tokenizer } = model;
  const limit = Math.min(request.maxTokens, decoder.length - 1);
  const prompt = promptIds(model, request.prompt, decoder.length - limit);
  const random = mulberry32(derivedSeed(request.seed, PURPOSE.sampling));
  const ids: number[] = [];
  let [logProbs, drawn] = [0, 0];
  let finish: { reason: Completion['finishReason']; text: string } | null = null;
  decoder.reset();
  for (let position = 0; finish === null; position++) {
    decoder.ids[0] = prompt[position] ?? ids[position - prompt.length] ?? tokenizer.endOfTextId;
    const logits = await decoder.step();
    if (position + 1 < prompt.length) continue;
    const id = request.temperature === 0 ? likeliest(logits) : draw(logits, request.temperature, random);
    logProbs += logProbability(logits, id);
    drawn++;
    if (id !== tokenizer.endOfTextId) ids.push(id);
    finish = ended(tokenizer.decode(ids), request.stop, id === tokenizer.endOfTextId, ids.length >= limit);
  }
  return {
    text: finish.text,
    finishReason: finish.reason,
    promptTokens: prompt.length,
    completionTokens: ids.length,
    // Rounding can leave a hair above 0 when every token was certain.
    meanLogProb: Math.min(0, logProbs / drawn),
  };
}

function promptIds({ tokenizer }: LoadedModel, prompt: string, room: number): number[] {
  const ids = [...tokenizer.encode(prompt)];
  return ids.length === 0 ? [tokenizer.endOfTextId] : ids.slice(-room);
}

function ended(
  text: string,
  stops: readonly string[],
  closed: boolean,
  full: boolean,
): { reason: Completion['finishReason']; text: string } | null {
  const at = Math.min(...stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0));
  if (Number.isFinite(at)) return { reason: 'stop', text: text.slice(0, at) };
  if (closed) return { reason: 'stop', text };
  return full ? { reason: 'length', text } : null;
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if ((logits[id] ?? 0) > (logits[best] ?? 0)) best = id;
  return best;
}

function logProbability(logits: Float32Array, id: number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) largest = Math.max(largest, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return (logits[id] ?? Number.NEGATIVE_INFINITY) - largest - Math.log(sum);
}
