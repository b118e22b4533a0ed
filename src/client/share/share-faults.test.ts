import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ShareWorld, take, textOf, until } from "../../../test/share-workers.ts";
import { nodeId, type TopicId, topicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Metadata, type MetadataResponse } from "../../protocol/messages/metadata.ts";
import { ShareAcknowledge } from "../../protocol/messages/share-acknowledge.ts";
import { ShareFetch, type ShareFetchResponse } from "../../protocol/messages/share-fetch.ts";
import { ShareGroupHeartbeat } from "../../protocol/messages/share-group-heartbeat.ts";
import { createClient } from "../client.ts";
import { ConsumerUsageError } from "../consumer-errors.ts";
import { BrokerRefusedError } from "../errors.ts";
import { AcknowledgeError } from "./errors.ts";
import type { Message } from "./message.ts";

type TopicAnswer = MetadataResponse["topics"][number];

/** What the broker says of its topics, changed; the door stays where it is asked. */
const metadata = (
  { door }: ShareWorld,
  ofPart: (part: TopicAnswer["partitions"][number]) => TopicAnswer["partitions"][number],
  ofId: (id: TopicId) => TopicId = (id) => id,
): never =>
  ((answer: MetadataResponse): MetadataResponse => ({
    ...answer,
    brokers: answer.brokers.map((broker) => ({ ...broker, port: Number(door.bootstrap.split(":")[1]) })),
    topics: answer.topics.map((topic) => ({
      ...topic,
      topicId: ofId(topic.topicId),
      partitions: topic.partitions.map(ofPart),
    })),
  })) as never;

describe("a worker of a share group to whom the world is unkind", () => {
  // Broken when `run` ends with the loop that takes messages: what is handled then is nobody's, and another run may begin.
  it("that may take no more lets handlers finish and says what they did, and only then is not run any more", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["slow", "endless"]);
    const worker = world.worker({ closeTimeoutMs: 20_000 });
    let reason: unknown;
    const causes: unknown[] = [];
    worker
      .run(
        (message, { signal }) => {
          if (textOf(message) === "slow") return world.sleep(10_000);
          signal.addEventListener("abort", () => {
            reason = signal.reason;
          });
          return new Promise(() => undefined);
        },
        { concurrency: 3 },
      )
      .catch((cause: unknown) => causes.push(cause));
    await world.run(until(world, () => worker.stats.delivered === 2));
    const errorCode = ErrorCode.GROUP_AUTHORIZATION_FAILED;
    world.door.on(ShareGroupHeartbeat, () => ({ rewrite: (answer: object) => ({ ...answer, errorCode }) }));
    await world.pass(8_000);
    await assert.rejects(
      worker.run(() => undefined),
      ConsumerUsageError,
    );
    assert.equal(causes.length, 0);
    await world.pass(40_000);
    assert.ok(causes[0] instanceof BrokerRefusedError);
    assert.match(String(reason), /can take messages no longer/);
    assert.deepEqual([worker.stats.accepted, worker.stats.released], [1, 1]);
    await world.run(worker.close());
  });

  it("is told what became of its words though what came with the answer makes it stumble", async (test) => {
    const world = await ShareWorld.make(test);
    const ports = world.broker.clientPorts();
    const stumble = (): never => {
      throw new Error("oops");
    };
    const client = createClient(
      { bootstrap: world.door.bootstrap },
      { ...ports, log: { ...ports.log, warn: stumble } },
    );
    await world.broker.write("t", ["a"], { partition: 1 });
    const worker = client.shareConsumer({ group: "g", topic: "t" });
    const [message] = await world.run(take(worker, 1));
    await world.broker.write("t", ["b"], { partition: 0 });
    let spoilt = 0;
    // The partition with the records comes first.
    const spoil = (answer: ShareFetchResponse): ShareFetchResponse => ({
      ...answer,
      responses: answer.responses.map((topic) => ({
        ...topic,
        partitions: topic.partitions
          .toSorted((a, b) => b.acquiredRecords.length - a.acquiredRecords.length)
          .map((part) => {
            if (part.acquiredRecords.length === 0) return part;
            spoilt++;
            return {
              ...part,
              records: [Buffer.from("no records at all, and long enough to be some of them, is it not?")],
            };
          }),
      })),
    });
    world.door.on(ShareFetch, () => ({ rewrite: spoil as never }));
    let isSettled = false;
    const settled = (): void => void (isSettled = true);
    (message as Message).accept().then(settled, settled);
    await world.pass(5_000);
    assert.deepEqual([spoilt, isSettled], [1, true]);
    await world.run(worker.close());
  });

  it("leaves no word without an answer when it is closed while its broker says nothing", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["a"]);
    const { bootstrap } = world.door;
    const client = createClient({ bootstrap, requestTimeoutMs: 5_000 }, world.broker.clientPorts());
    const worker = client.shareConsumer({ group: "g", topic: "t" });
    const [message] = await world.run(take(worker, 1));
    for (const api of [ShareFetch, ShareAcknowledge]) world.door.on(api as never, () => ({ heldMs: 1e9 }));
    const failed = assert.rejects((message as Message).accept(), AcknowledgeError);
    await world.run(worker.close());
    await world.run(failed);
  });

  // Broken when a leader that is not known is asked for once: the answer that names none either was the last.
  it("takes from a partition as soon as it has a leader again, though it had none when it was given", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["a"]);
    let isLeaderless = true;
    const none = { leaderId: nodeId(-1), errorCode: ErrorCode.LEADER_NOT_AVAILABLE };
    world.door.on(Metadata, () => ({
      rewrite: metadata(world, (part) => (isLeaderless ? { ...part, ...none } : part)),
    }));
    const worker = world.worker();
    const taking = take(worker, 1);
    await world.pass(10_000);
    isLeaderless = false;
    await world.pass(3_000);
    assert.equal(worker.stats.delivered, 1);
    await world.run(taking);
    await world.run(worker.close());
  });

  it("is told its partitions again when the topic that it was told of was not known to whom it asked", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["a"]);
    let isOld = true;
    const old = topicId("AAAAAAAAAAAAAAAAAAAAAg");
    world.door.on(Metadata, () => ({
      rewrite: metadata(
        world,
        (part) => part,
        (id) => (isOld ? old : id),
      ),
    }));
    const worker = world.worker();
    const taking = take(worker, 1);
    await world.pass(10_000);
    assert.equal(worker.stats.delivered, 0);
    isOld = false;
    await world.pass(10_000);
    assert.equal(worker.stats.delivered, 1);
    await world.run(taking);
    await world.run(worker.close());
  });

  it("leaves the group also where it is closed before it has heard that it belongs to it", async (test) => {
    const world = await ShareWorld.make(test, 1);
    const worker = world.worker();
    let isOver = false;
    world.door.on(ShareGroupHeartbeat, () => {
      void worker.close().then(() => (isOver = true));
      return "pass";
    });
    const running = worker.run(() => undefined);
    await world.run(until(world, () => isOver));
    await world.run(running);
    const groups = await world.run(world.process().client.admin().describeShareGroups(["g"]));
    assert.deepEqual(groups[0]?.members, []);
  });

  // Broken when a session counts as idle while it waits for messages: what it is given then cannot be accepted.
  it("accepts what it is given by a broker that is no leader any more, by the look of it", async (test) => {
    const world = await ShareWorld.make(test, 1);
    let isLeaderless = false;
    const none = { leaderId: nodeId(-1), errorCode: ErrorCode.LEADER_NOT_AVAILABLE };
    world.door.on(Metadata, () => ({
      rewrite: metadata(world, (part) => (isLeaderless ? { ...part, ...none } : part)),
    }));
    const process = world.process();
    const worker = world.worker({ maxWaitMs: 8_000 }, process);
    void worker.run(() => undefined);
    await world.pass(20_000);
    isLeaderless = true;
    await world.run(process.client.admin().describeTopics(["t"]));
    await world.broker.write("t", ["a"]);
    await world.pass(5_000);
    assert.deepEqual([worker.stats.delivered, worker.stats.accepted, worker.stats.failed], [1, 1, 0]);
    await world.run(worker.close());
  });
});
