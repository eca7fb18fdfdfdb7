import type { JudgedWindow } from './model-watch.ts';

/** Features shown of a judgement: the most certain ones. All 500 would make every quiet window a row of 200 kB. */
const MAX_FEATURES_SHOWN = 20;

/** Causes of a judged window, most certain first: degradation is what drift is feared for, so it comes before. */
export function causesOf({ judgement, performance }: JudgedWindow): string[] {
  const degraded = [
    ...(performance?.lasting === true ? ['performance:lasting'] : []),
    ...(performance?.changed === true ? ['performance:changed'] : []),
  ];
  return [...degraded, ...(judgement?.drifted ?? []).map((feature) => `feature:${feature}`)];
}

/** Whether the window says anything: enough observations, or proof of degradation from however few scores. */
export const isJudged = (window: JudgedWindow): boolean =>
  window.judgement?.judged === true || causesOf(window).length > 0;

/** What a row and a message show of a window: JSON, of bounded size. */
export function evidenceOf(window: JudgedWindow): Record<string, unknown> {
  const { startMs, endMs, taken, sampledOut, judgement, performance } = window;
  return {
    window: { startMs, endMs, observations: taken, sampledOut, malformed: judgement?.malformed ?? 0 },
    ...(judgement === null
      ? {}
      : {
          tested: judgement.features.filter(({ adjustedPValue }) => adjustedPValue !== null).length,
          drifted: judgement.drifted.length,
          features: judgement.features.slice(0, MAX_FEATURES_SHOWN),
        }),
    ...(performance === null ? {} : { performance }),
  };
}
