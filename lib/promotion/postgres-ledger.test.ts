import { Database } from '#lib/postgres/database.ts';
import { createTestDatabase } from '../../test/support/database.ts';
import { PostgresPromotionLedger } from './postgres-ledger.ts';
import { promotionLedgerContract } from './promotion-ledger.contract.ts';

promotionLedgerContract('postgres', async () => {
  const test = await createTestDatabase({ maxConnections: 6 });
  // A second pool stands for another process.
  const other = new Database({ url: test.url, applicationName: 'test-other', maxConnections: 6 });
  let opened = 0;
  return {
    open: () => new PostgresPromotionLedger(opened++ % 2 === 0 ? test.database : other),
    close: async () => {
      await other.close();
      await test.drop();
    },
  };
});
