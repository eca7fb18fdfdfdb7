import { ModelWatch } from '../domain/model-watch.ts';
import { type ModelSettings, settingsOf } from '../domain/watch-settings.ts';
import { type DriftStore, versionId, type VersionKey, type WatchHead } from './ports.ts';

/**
 * Watches in memory at most: one of 50 numeric features with three open windows takes some 8 MB, and those that are not here are read when needed.
 */
export const MAX_WATCHES = 32;

export interface CachedWatch extends WatchHead {
  readonly watch: ModelWatch;
  readonly settings: ModelSettings;
}

/** Watches by version, as they are stored: whatever somebody else changed since is read again. The least recently used goes first. */
export class WatchCache {
  readonly #store: Pick<DriftStore, 'heads' | 'load'>;
  readonly #observationsPerWindow: number;
  readonly #watches = new Map<string, CachedWatch>();

  constructor(store: Pick<DriftStore, 'heads' | 'load'>, observationsPerWindow: number) {
    this.#store = store;
    this.#observationsPerWindow = observationsPerWindow;
  }

  /** In the order of the keys; `MAX_WATCHES` at most. A watch that is changed and not stored must be forgotten. */
  async open(versions: readonly VersionKey[]): Promise<CachedWatch[]> {
    const heads = await this.#store.heads(versions);
    const stale = heads.filter((head) => !isSame(head, this.#watches.get(versionId(head))));
    for (const { stored, reference, policy, ...head } of stale.length === 0 ? [] : await this.#store.load(stale)) {
      const settings = settingsOf(policy, this.#observationsPerWindow);
      const watch = new ModelWatch(versionId(head), reference, settings.watch, stored);
      this.#watches.set(versionId(head), { ...head, watch, settings });
    }
    return versions.map((key) => {
      const cached = this.#watches.get(versionId(key)) as CachedWatch;
      this.put(cached);
      return cached;
    });
  }

  /** The watch as it is stored now. */
  put(cached: CachedWatch): void {
    const id = versionId(cached);
    this.#watches.delete(id);
    this.#watches.set(id, cached);
    for (const oldest of this.#watches.keys()) {
      if (this.#watches.size <= MAX_WATCHES) return;
      this.#watches.delete(oldest);
    }
  }

  /** After a commit that failed. */
  forget(versions: readonly VersionKey[]): void {
    for (const key of versions) this.#watches.delete(versionId(key));
  }
}

const isSame = (head: WatchHead, cached: CachedWatch | undefined): boolean =>
  cached !== undefined &&
  head.watchRevision === cached.watchRevision &&
  head.referenceRevision === cached.referenceRevision &&
  head.policyRevision === cached.policyRevision;
