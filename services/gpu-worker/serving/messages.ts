import { type Static, Type } from '#typebox';
import { Completion, GenerationRequest, InferenceProblem } from '#lib/serving/inference-protocol.ts';

/** Between the worker and its serving process, over the channel of `fork`. */
export const ServeRequest = Type.Object({
  id: Type.Integer(),
  place: Type.Object({ dir: Type.String(), adapterDir: Type.Optional(Type.String()) }),
  request: GenerationRequest,
});
export type ServeRequest = Static<typeof ServeRequest>;

export const ServeAnswer = Type.Union([
  Type.Object({ id: Type.Integer(), completion: Completion }),
  Type.Object({ id: Type.Integer(), problem: InferenceProblem }),
]);
export type ServeAnswer = Static<typeof ServeAnswer>;
