import { type Static, Type } from '#typebox';
import { Choice, ParameterName } from './search-space.ts';

export const Direction = Type.Union([Type.Literal('minimize'), Type.Literal('maximize')]);
export type Direction = Static<typeof Direction>;

/**
 * One trial of a search as samplers and summaries see it. `value` is the objective of a completed trial; null, NaN and infinite
 * mean that it has none, and the trial counts as failed. `lastReport` is the newest point of the curve (value null: not a number).
 */
export const Trial = Type.Object({
  /** From 0, in the order in which configurations were asked for. */
  number: Type.Integer({ minimum: 0 }),
  configuration: Type.Record(ParameterName, Choice),
  outcome: Type.Union([
    Type.Literal('running'),
    Type.Literal('completed'),
    Type.Literal('pruned'),
    Type.Literal('failed'),
  ]),
  value: Type.Union([Type.Number(), Type.Null()]),
  lastReport: Type.Union([
    Type.Object({ step: Type.Integer({ minimum: 0 }), value: Type.Union([Type.Number(), Type.Null()]) }),
    Type.Null(),
  ]),
});
export type Trial = Static<typeof Trial>;

/** The objective of a trial that has one. */
export function objectiveOf(trial: Trial): number | null {
  return trial.outcome === 'completed' && trial.value !== null && Number.isFinite(trial.value) ? trial.value : null;
}

/** The value so that smaller is better, whatever the direction. */
export const asLoss = (value: number, direction: Direction): number => (direction === 'minimize' ? value : -value);
