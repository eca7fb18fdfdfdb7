import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import { readFile } from 'node:fs/promises';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';
import { e2ePlatform, type Settings } from '../support/e2e/platform.ts';
import { eventually } from '../support/eventually.ts';
import { addressOf, peer } from '../support/peers/peer.ts';
import { openPlace } from '../support/place.ts';

const peers = {
  kafka: await peer('kafka'),
  registry: await peer('registry'),
  s3: await peer('s3'),
  mlflow: await peer('mlflow'),
};
const missing = Object.values(peers).flatMap((state) => (state.available ? [] : [state.reason]));
const name = `t${randomBytes(5).toString('hex')}`;

/** Topics, objects and models of this file's own on the peers that all files share. */
function ports(): Settings {
  const { endpoint, region, bucket, accessKeyId, secretAccessKey } = addressOf(peers.s3);
  return {
    BUS_URL: `kafka://${addressOf(peers.kafka).brokers.join(',')}`,
    SCHEMA_REGISTRY_URL: addressOf(peers.registry).url,
    TOPIC_PREFIX: `${name}.`,
    OBJECT_STORE_URL: `s3://${bucket}/${name}?endpoint=${endpoint}&region=${region}&pathStyle=true`,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    MODEL_REGISTRY_URL: `mlflow+${addressOf(peers.mlflow).url}?namespace=${name}`,
  };
}

describe.skipIf(missing.length > 0)('the platform on Kafka, a schema registry, S3 and MLflow', () => {
  const get = e2ePlatform(missing.length > 0 ? {} : { ports: ports() });

  it('trains, evaluates and registers a job whose workers and orchestrator are killed on the way', async () => {
    const client = await get().project('distributed');
    const job = await client.submit(tinyJob({ key: 'killed', steps: 1_500, checkpointEverySteps: 50 }));
    await client.activityIs(
      job.id,
      'run_training',
      ({ progress }) => ((progress as { step?: number } | null)?.step ?? 0) > 60,
    );
    await eventually(async () =>
      expect((await client.events(job.id)).some(({ type }) => type === 'CheckpointSaved')).toBe(true),
    );
    const worker = await get().killService('gpu-worker');
    const orchestrator = await get().killService('orchestrator');
    await get().readyAgain('orchestrator', orchestrator);
    await get().readyAgain('gpu-worker', worker);
    await client.finishedAs(job.id, 'COMPLETED', 90_000);
    const resumed = await client.output<{ resumedFromStep: number | null }>(job.id, 'run_training');
    expect(resumed.resumedFromStep).toBeGreaterThanOrEqual(50);
    const [version, ...others] = await client.versions('killed');
    expect(others).toEqual([]);
    expect(version).toMatchObject({ version: 1, stage: 'dev', lineage: { jobId: job.id } });
    // What MLflow shows to everybody.
    const { url } = addressOf(peers.mlflow);
    const found = await fetch(
      `${url}/api/2.0/mlflow/model-versions/search?filter=${encodeURIComponent(`tags.\`trainyard.job_id\` = '${job.id}'`)}`,
    );
    const { model_versions: shown = [] } = (await found.json()) as { model_versions?: { source: string }[] };
    expect(shown.map(({ source }) => source)).toEqual([expect.stringMatching(new RegExp(`^s3://.*${name}`))]);
  });

  it('takes a job that another system asks for by a record, and rejects one it may not ask for', async () => {
    const client = await get().project('by-record');
    const key = (await readFile(get().home.adminKeyFile, 'utf8')).trim();
    const { BUS_URL: busUrl = '', SCHEMA_REGISTRY_URL: registryUrl = '', TOPIC_PREFIX: prefix = '' } = ports();
    const place = await openPlace(
      { databaseUrl: get().platform.databaseUrl, busUrl, registryUrl, prefix },
      'other-system',
    );
    const answers = await place.bus.subscribe({ groupId: 'other-system', topics: ['jobs.events'], from: 'end' });
    await eventually(async () => {
      await answers.poll({ maxMessages: 1, maxWaitMs: 100 });
      expect(answers.assignment()).toHaveLength(8);
    });
    const { spec, type } = tinyJob({ key: 'unused', model: 'by-record' });
    const record = (id: string, authorization: string) => {
      const message = encodeMessage(place.codec, {
        topic: 'jobs.requests',
        key: 'by-record',
        type: 'JobRequested',
        payload: {
          project: 'by-record',
          idempotencyKey: id,
          jobType: String(type),
          priority: null,
          specJson: JSON.stringify(spec),
          labels: {},
          description: '',
        },
        envelope: { id, source: '/other-system', timeMs: Date.now() },
      });
      return { ...message, headers: { ...message.headers, authorization } };
    };
    await place.bus.publish([record('good', `Bearer ${key}`), record('bad', 'Bearer nobody')]);
    const seen: { type: string; code?: string; status?: string }[] = [];
    await eventually(
      async () => {
        for (const { headers, value } of await answers.poll({ maxMessages: 100, maxWaitMs: 500 }))
          seen.push({ ...(place.codec.decode(value).payload as object), type: headers['ce_type'] ?? '' });
        expect(seen.some((event) => event.type === 'JobFinished')).toBe(true);
      },
      { withinMs: 60_000, everyMs: 0 },
    );
    await place.close();
    expect(seen.find((event) => event.type === 'JobRejected')?.code).toBe('Unauthenticated');
    expect(seen.find((event) => event.type === 'JobAccepted')).toMatchObject({ requestId: 'good' });
    expect(seen.find((event) => event.type === 'JobFinished')?.status).toBe('COMPLETED');
    expect(await client.versions('by-record')).toHaveLength(1);
  });
});
