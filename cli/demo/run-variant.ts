import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { OptionValues } from '../command.ts';
import { onDemoPlatform, type PlatformSetting, shown } from './demo-platform.ts';
import { lookFurther, section, wallTime } from './summary-parts.ts';
import type { Told, Variant } from './variant.ts';

/** Runs a variant on a platform of its own; what it found lies in `report.json` of the home too. Throws as `onDemoPlatform` does. */
export async function runVariant(variant: Variant, setting: PlatformSetting, options: OptionValues): Promise<Told> {
  const home = shown(setting.home);
  const { made, phases } = await onDemoPlatform(
    setting,
    (scene) => variant.run(scene, options),
    variant.overrides ?? {},
  );
  const report = { demo: variant.name, ...made.report, unmet: made.unmet, phases, home };
  await writeFile(join(setting.home, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  return {
    ...made,
    report,
    summary: (columns) => [
      ...made.summary(columns),
      ...section('Wall time', wallTime(phases)),
      ...section('Look further', lookFurther(home, made.furtherPaths)),
    ],
  };
}
