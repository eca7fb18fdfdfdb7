import type { Value } from '../onnx-model.ts';
import { single, type Tape } from '../tape.ts';

/**
 * PPO's clipped objective as a loss per token (Schulman et al. 2017, equation 7): `-min(r A, clip(r, 1 - c, 1 + c) A)` with
 * `r = exp(logp - oldLogp)`. All [n, 1]; only `logp` is differentiated.
 */
export function clippedPolicyLoss(
  tape: Tape,
  logp: Value,
  data: { oldLogp: Value; advantages: Value },
  cliprange: number,
): Value {
  const { graph } = tape;
  const { shape } = logp;
  const ratio = graph.node('Exp', [graph.node('Sub', [logp, data.oldLogp], shape)], shape);
  const bounds = [graph.floats([1 - cliprange], []), graph.floats([1 + cliprange], [])];
  const free = graph.node('Mul', [ratio, data.advantages], shape);
  const clipped = graph.node('Mul', [graph.node('Clip', [ratio, ...bounds], shape), data.advantages], shape);
  const loss = graph.node('Neg', [graph.node('Min', [free, clipped], shape)], shape);
  tape.record(
    [loss],
    [logp],
    single((dy, give) => {
      // The minimum is the clipped term exactly where that is smaller, and there the ratio lies outside: no gradient.
      const active = notAbove(tape, free, clipped);
      give(logp, graph.node('Neg', [graph.node('Mul', [dy, graph.node('Mul', [active, free], shape)], shape)], shape));
    }),
  );
  return loss;
}

/**
 * The value loss per token, `max((v - R)^2, (v' - R)^2) / 2` with `v'` = `v` held within `cliprange` of the value at rollout time,
 * as TRL and the original PPO code have it. All [n, 1]; only `values` is differentiated.
 */
export function clippedValueLoss(
  tape: Tape,
  values: Value,
  data: { oldValues: Value; returns: Value },
  cliprange: number,
): Value {
  const { graph } = tape;
  const { shape } = values;
  const moved = graph.node('Sub', [values, data.oldValues], shape);
  const bounds = [graph.floats([-cliprange], []), graph.floats([cliprange], [])];
  // Exactly zero inside the range; v' computed as old + clip(v - old) would differ from v by rounding there.
  const excess = graph.node('Sub', [moved, graph.node('Clip', [moved, ...bounds], shape)], shape);
  const error = graph.node('Sub', [values, data.returns], shape);
  const clippedError = graph.node('Sub', [error, excess], shape);
  const square = (x: Value): Value => graph.node('Mul', [x, x], shape);
  const [free, clipped] = [square(error), square(clippedError)];
  const loss = graph.node('Mul', [graph.node('Max', [free, clipped], shape), graph.floats([0.5], [])], shape);
  tape.record(
    [loss],
    [values],
    single((dy, give) => {
      const active = notAbove(tape, clipped, free);
      give(values, graph.node('Mul', [dy, graph.node('Mul', [active, error], shape)], shape));
    }),
  );
  return loss;
}

/** 1 where a <= b, else 0. */
function notAbove(tape: Tape, a: Value, b: Value): Value {
  const { graph } = tape;
  const above = graph.node('Sign', [graph.node('Relu', [graph.node('Sub', [a, b], a.shape)], a.shape)], a.shape);
  return graph.node('Sub', [graph.floats([1], []), above], a.shape);
}
