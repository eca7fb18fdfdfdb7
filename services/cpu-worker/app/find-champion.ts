import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { PromotionLedger } from '#lib/promotion/port.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { whenRegistryServes } from '#lib/worker/registry-wait.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';

/** The version in production now. The ledger knows; a model that it has never heard of is as the registry shows it. */
export async function findChampion(
  platform: WorkerPlatform,
  ledger: Pick<PromotionLedger, 'stages'>,
  { input: { model }, project, signal }: ActivityContext<ActivityInput<'find_champion'>>,
): Promise<ActivityOutput<'find_champion'>> {
  const stages = await ledger.stages(project, model);
  for (const [version, stage] of stages) if (stage === 'prod') return { version };
  if (stages.size > 0) return { version: null };
  const shown = await whenRegistryServes(platform, signal, (registry) => registry.resolve(project, model, 'prod'));
  return { version: shown?.version ?? null };
}
