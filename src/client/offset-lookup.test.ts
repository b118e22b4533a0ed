import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Door } from "../../test/door.ts";
import { aBroker } from "../../test/simulated-broker.ts";
import { leaderEpoch, nodeId } from "../base/ids.ts";
import { ListedOffset } from "../protocol/messages/list-offsets.ts";
import { Metadata, type MetadataResponse } from "../protocol/messages/metadata.ts";
import { createClient } from "./client.ts";
import { Cluster } from "./cluster.ts";
import { Links } from "./links.ts";
import { lookUpOffsets } from "./offset-lookup.ts";
import { clientSettings } from "./settings.ts";

const gone = nodeId(7);

/** Two brokers, as the answers have it, of which one is not there; it leads until it is replaced. */
async function aClusterThatLost(t: TestContext) {
  const broker = await aBroker(t);
  await broker.createTopic("orders");
  const door = await Door.before(broker);
  const here = { host: "127.0.0.1", port: 7200 };
  const lost = { door, broker, isReplaced: false };
  door.on(Metadata, () => ({
    rewrite: (answer: MetadataResponse) => ({
      ...answer,
      brokers: [
        ...answer.brokers.map((each) => ({ ...each, ...here })),
        { nodeId: gone, host: "127.0.0.1", port: 7299, rack: null },
      ],
      topics: answer.topics.map((topic) => ({
        ...topic,
        partitions: topic.partitions.map((each) =>
          lost.isReplaced ? { ...each, leaderEpoch: leaderEpoch(9) } : { ...each, leaderId: gone },
        ),
      })),
    }),
  }));
  return lost;
}

test("after a leader that cannot be reached, another one is looked for", async (t) => {
  const lost = await aClusterThatLost(t);
  const { broker } = lost;
  const settings = clientSettings({ bootstrap: lost.door.bootstrap }, broker.clientPorts());
  const [cluster, links] = [new Cluster(settings), new Links(settings)];
  t.after(() => {
    cluster.close();
    links.close();
  });
  const question = { topic: "orders", partition: 0, timestamp: ListedOffset.latest };
  const ask = () => lookUpOffsets({ cluster, links }, [question], "uncommitted");
  await broker.scheduler.runUntil(assert.rejects(ask(), /127\.0\.0\.1:7299 cannot be reached/));
  lost.isReplaced = true;
  await broker.scheduler.runUntil(assert.rejects(ask(), /127\.0\.0\.1:7299 cannot be reached/));
  await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 1_000 });
  const [found] = await broker.scheduler.runUntil(ask());
  assert.equal(found?.offset, 0);
});

test("an admin waits for the successor of a leader that cannot be reached", async (t) => {
  const lost = await aClusterThatLost(t);
  const { broker } = lost;
  const client = createClient({ bootstrap: lost.door.bootstrap }, broker.clientPorts());
  t.after(() => client.close());
  const described = client.admin().describeTopic("orders");
  await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 4_000 });
  lost.isReplaced = true;
  const { partitions } = await broker.scheduler.runUntil(described);
  assert.equal(partitions.length, 1);
});
