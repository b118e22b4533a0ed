/** A cluster that an older version began, at format level 1, where nobody can be moved or drained yet. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { sha256 } from "../../io/sha256.ts";
import { encodeSlot, slotKey } from "../../metadata/slot.ts";
import { NO_BROKER } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { UpdateFeatures, UpgradeType } from "../../protocol/messages/update-features.ts";
import { NO_NONCE } from "../../store/body.ts";

const update = (maxVersionLevel: number) => ({
  timeoutMs: 1_000,
  featureUpdates: [
    {
      feature: "holdfast.format",
      maxVersionLevel,
      allowDowngrade: false,
      upgradeType: UpgradeType.upgrade,
    },
  ],
  validateOnly: false,
});

test("a cluster of format level 1 serves, is restarted broker by broker, and hands over once the level is raised", async (t) => {
  const cluster = new SimulatedCluster();
  t.after(() => cluster.close());
  const init = { kind: "init", clusterId: "old", level: 1, walKind: 1, chapterSlots: 64 } as const;
  const content = { author: NO_BROKER, list: 0, commands: [init] };
  const origin = { clusterId: "old", slot: 0, nonce: NO_NONCE, previousHash: new Uint8Array(0), level: 1 };
  cluster.bucket.objects.set(slotKey(0), encodeSlot(origin, content, sha256));
  await cluster.bootAll(3);
  const stateAt = (place: number) => cluster.at(place).services.journal.state;
  assert.equal(stateAt(0).level, 1);
  assert.deepEqual(
    [...stateAt(0).brokers.values()].map(({ nodeId }) => nodeId),
    [1, 2, 3],
  );
  await cluster.run(
    cluster
      .client()
      .admin()
      .createTopics([{ topic: "t", partitions: 6 }]),
  );
  const producer = cluster.client().producer();
  const send = (count: number): Promise<unknown> =>
    Promise.all(
      Array.from({ length: count }, (_, at) => producer.send({ topic: "t", partition: at % 6, value: "v" })),
    );
  await cluster.run(send(60));
  // A clean stop gives nothing away at this level: the others take over from a log that says it is done.
  await cluster.stop(0);
  await cluster.run(send(60));
  await cluster.boot(0);
  await cluster.pass(5_000);
  assert.equal(stateAt(1).level, 1);
  const leaderEpochs = (place: number) =>
    [...stateAt(place).topics.values()]
      .find(({ name }) => name === "t")
      ?.partitions.map(({ leaderEpoch }) => leaderEpoch) ?? [];
  assert.ok(Math.max(...leaderEpochs(1)) === 1, "nothing was moved but by a take-over");
  // It has more than its share, and nobody can be given it: that is not tried again and again.
  const begunMs = cluster.scheduler.nowMs;
  await cluster.stop(1);
  assert.ok(cluster.scheduler.nowMs - begunMs < 10_000);
  await cluster.boot(1);
  await cluster.pass(5_000);

  const raised = await cluster.ask(1, UpdateFeatures, update(2));
  assert.equal(raised.errorCode, ErrorCode.NONE);
  await cluster.until("everybody sees level 2", () => [0, 1, 2].every((place) => stateAt(place).level === 2));
  const back = await cluster.ask(1, UpdateFeatures, update(1));
  assert.equal(back.errorCode, ErrorCode.INVALID_UPDATE_VERSION);
  await cluster.until("the one that came back has its share", () =>
    [0, 1, 2, 3, 4, 5].some((index) => cluster.ownerOf("t", index, 2) === 1),
  );
  await cluster.run(send(60));
  for (const place of [0, 1, 2]) assert.equal(cluster.memberAt(place).failure, null);

  const consumer = cluster.client().consumer({ topic: "t", from: "start" });
  let count = 0;
  await cluster.run(
    (async () => {
      for await (const _ of consumer) if (++count === 180) break;
    })(),
  );
  assert.equal(count, 180);
});
