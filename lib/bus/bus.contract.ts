import { afterAll, afterEach, beforeAll, beforeEach, describe } from 'vitest';
import { crashRules } from './contract/crashes.ts';
import { deliveryRules, orderRules } from './contract/delivery.ts';
import { handoverRules, sharingRules } from './contract/members.ts';
import { pollingRules, refusalRules } from './contract/polling.ts';
import { positionRules, progressRules } from './contract/positions.ts';
import { type BusUnderTest, Scene } from './contract/scene.ts';

/**
 * What every implementation of `Bus` does, written against the semantics that Kafka has (port.ts, BUS-1 to BUS-6): rebalances, redelivery,
 * commits by offset. Every test has topics and groups of its own, so one bus serves all of them.
 */
export function busContract(
  name: string,
  start: () => Promise<BusUnderTest>,
  options: { readonly skip?: boolean } = {},
): void {
  describe.skipIf(options.skip === true)(`${name} keeps the contract of the bus`, () => {
    let underTest: BusUnderTest;
    let current: Scene;
    const scene = (): Scene => current;
    beforeAll(async () => {
      underTest = await start();
    });
    afterAll(async () => {
      await underTest.close();
    });
    beforeEach(() => {
      current = new Scene(underTest);
    });
    afterEach(async () => {
      await current.end();
    });
    deliveryRules(scene);
    orderRules(scene);
    refusalRules(scene);
    pollingRules(scene);
    positionRules(scene);
    progressRules(scene);
    sharingRules(scene);
    handoverRules(scene);
    crashRules(scene);
  });
}
