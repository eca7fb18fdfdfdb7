import { randomInt, randomUUID } from 'node:crypto';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Completion, GenerationRequest, InferenceRequest } from '#lib/serving/inference-protocol.ts';
import { type Arm, type OpenTraffic, routeRequest, unitOf } from '#lib/serving/split.ts';
import type { ServedVersions } from './served-versions.ts';

/** What completions need from outside. */
export interface CompletionPorts {
  readonly versions: Pick<ServedVersions, 'version' | 'alias'>;
  readonly traffic: { trafficOf(project: string, model: string): Promise<OpenTraffic> };
  readonly inference: { infer(request: InferenceRequest): Promise<Completion> };
  readonly observations: { add(message: OutgoingMessage): void };
  readonly codec: Codec;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** Who answers: whoever the split says, or a version that the client names. */
export type Target =
  | { readonly kind: 'routed' }
  | { readonly kind: 'version'; readonly version: number }
  | { readonly kind: 'alias'; readonly alias: string };

export interface CompletionRequest extends Omit<GenerationRequest, 'seed'> {
  readonly project: string;
  readonly model: string;
  readonly target: Target;
  /** The same key is answered by the same version; null: every request is dealt anew. */
  readonly routingKey: string | null;
  /** Absent: drawn, and told in the answer. */
  readonly seed?: number;
}

export interface CompletionAnswer extends Completion {
  readonly id: string;
  readonly model: string;
  readonly version: number;
  /** `explicit`: the client named the version; no canary counts it. */
  readonly arm: Arm | 'explicit';
  readonly seed: number;
  /** From the routing decision to the answer. */
  readonly latencyMs: number;
}

const MAX_SEED = 4_294_967_295;

/**
 * One completion: who answers, the answer, and an observation of it, also when it failed. Throws `NotFound` for a model that has nothing to answer,
 * `SafetyGateFailed`, `InferenceUnavailable` and `InferenceFailed`.
 */
export async function completeText(ports: CompletionPorts, request: CompletionRequest): Promise<CompletionAnswer> {
  const id = randomUUID();
  const { project, model } = request;
  const { version, arm, routingUnit } = await targetOf(ports, request, id);
  const stored = await ports.versions.version(project, model, version);
  if (stored === null) throw new TrainyardError('NotFound', `model ${model} has no version ${version}`);
  if (!stored.mayServe)
    throw new TrainyardError('SafetyGateFailed', `version ${version} of ${model} did not pass its safety gate`);
  const seed = request.seed ?? randomInt(MAX_SEED);
  const { prompt, maxTokens, temperature, stop } = request;
  const startedMs = performance.now();
  const observe = (completion: Completion | null): number => {
    const latencyMs = performance.now() - startedMs;
    ports.observations.add(
      observation(ports, { id, project, model, version, arm, routingUnit, prompt, latencyMs, completion }),
    );
    return latencyMs;
  };
  try {
    const asked = { model: stored.model, prompt, maxTokens, temperature, seed, stop };
    const completion = await ports.inference.infer(asked);
    return { ...completion, id, model, version, arm, seed, latencyMs: observe(completion) };
  } catch (error) {
    observe(null);
    throw error;
  }
}

async function targetOf(
  ports: CompletionPorts,
  { project, model, target, routingKey }: CompletionRequest,
  id: string,
): Promise<Dealt> {
  if (target.kind === 'version') return { version: target.version, arm: 'explicit', routingUnit: null };
  if (target.kind === 'alias') {
    const version = await ports.versions.alias(project, model, target.alias);
    if (version === null) throw new TrainyardError('NotFound', `model ${model} has no version ${target.alias}`);
    return { version, arm: 'explicit', routingUnit: null };
  }
  const traffic = await ports.traffic.trafficOf(project, model);
  const route = routeRequest(project, model, traffic, routingKey ?? id);
  if (route === null) throw new TrainyardError('NotFound', `no version of model ${model} is in prod`);
  // Outside a canary nobody needs to know which answers went to one user.
  const isCounted = traffic.split !== null && route.arm !== 'prod' && routingKey !== null;
  return { ...route, routingUnit: isCounted ? unitOf(traffic.split, routingKey) : null };
}

interface Dealt {
  readonly version: number;
  readonly arm: CompletionAnswer['arm'];
  /** Whom a canary counts the answer for; null: nobody, or no canary. */
  readonly routingUnit: string | null;
}

/** Figures only: neither the prompt nor the answer leaves by it. */
function observation(
  { codec, now }: CompletionPorts,
  seen: {
    readonly id: string;
    readonly project: string;
    readonly model: string;
    readonly version: number;
    readonly arm: CompletionAnswer['arm'];
    readonly routingUnit: string | null;
    readonly prompt: string;
    readonly latencyMs: number;
    readonly completion: Completion | null;
  },
): OutgoingMessage {
  const { id, project, model, version, arm, routingUnit, prompt, latencyMs, completion } = seen;
  const atMs = now();
  const features = {
    arm,
    failed: completion === null ? 1 : 0,
    latencyMs: Math.round(latencyMs),
    promptCharacters: prompt.length,
    promptBytes: Buffer.byteLength(prompt),
    ...(completion === null
      ? {}
      : {
          promptTokens: completion.promptTokens,
          completionTokens: completion.completionTokens,
          meanLogProb: completion.meanLogProb,
        }),
  };
  return encodeMessage(codec, {
    topic: 'production.observations',
    key: model,
    type: 'ObservationRecorded',
    payload: {
      observationId: id,
      project,
      model,
      modelVersion: version,
      observedAtMs: atMs,
      featuresJson: JSON.stringify(features),
      prediction: completion?.finishReason ?? 'failed',
      // The geometric mean of the tokens' probabilities, in [0, 1].
      score: completion === null ? null : Math.exp(completion.meanLogProb),
      label: null,
      routingUnit,
    },
    envelope: { id, source: '/trainyard/gateway', timeMs: atMs },
  });
}
