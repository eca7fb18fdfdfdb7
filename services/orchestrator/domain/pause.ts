/** Why children of a paused workflow are paused: only these are resumed with it, not the pruned ones. */
export const PARENT_PAUSED = 'ParentPaused';

/**
 * Whether a pause is news for a workflow that is paused already. `ParentPaused` gives way to any other reason: a trial that is pruned while its search
 * is paused, or that a person pauses then, must not go on with the search.
 */
export const isNewPause = (paused: { readonly reason: string | null } | undefined, reason: string | null): boolean =>
  paused === undefined || (paused.reason === PARENT_PAUSED && reason !== PARENT_PAUSED);
