import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { Door } from "../../test/door.ts";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import { ApiVersions } from "../protocol/messages/api-versions.ts";
import { Cluster } from "./cluster.ts";
import { NoBrokerError, NotKafkaError, UnknownTopicError } from "./errors.ts";
import { clientSettings } from "./settings.ts";

function aCluster(test: TestContext, broker: SimulatedBroker, options: object = {}): Cluster {
  const cluster = new Cluster(
    clientSettings({ bootstrap: broker.address, ...options }, broker.clientPorts()),
  );
  test.after(() => cluster.close());
  return cluster;
}

describe("the view of a cluster", () => {
  it("tells a topic's partitions and their leader", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders", 3);
    const cluster = aCluster(test, broker);
    const topic = await broker.scheduler.runUntil(cluster.topic("orders"));
    assert.equal(topic.partitions.length, 3);
    const leader = cluster.broker(topic.partitions[2]!.leader);
    assert.deepEqual([leader?.host, leader?.port], ["127.0.0.1", 9092]);
    assert.equal(cluster.peek("orders"), topic);
  });

  it("refuses a topic that is not there, after a while, and names those that look like it", async (test) => {
    const broker = await aBroker(test, { "auto.create.topics.enable": "false" });
    await broker.createTopic("orders");
    await broker.createTopic("payments");
    const cluster = aCluster(test, broker, { topicTimeoutMs: 500 });
    const begin = broker.scheduler.nowMs;
    await broker.scheduler.runUntil(
      assert.rejects(cluster.topic("ordres"), (cause: unknown) => {
        assert(cause instanceof UnknownTopicError);
        assert.deepEqual(cause.similar, ["orders"]);
        assert.equal(cause.message, 'There is no topic "ordres" at 127.0.0.1:9092. Did you mean "orders"?');
        return true;
      }),
    );
    assert(broker.scheduler.nowMs - begin >= 500);
  });

  it("does not let a broker create the topic unless it is told to", async (test) => {
    const broker = await aBroker(test, { "auto.create.topics.enable": "true" });
    const cluster = aCluster(test, broker);
    await broker.scheduler.runUntil(assert.rejects(cluster.topic("typo"), UnknownTopicError));
    const made = await broker.scheduler.runUntil(cluster.topic("meant", { create: true }));
    assert(made.partitions.length > 0);
    assert.deepEqual(
      (await broker.scheduler.runUntil(cluster.listTopics())).map(({ name }) => name),
      ["meant"],
    );
  });

  it("asks once for topics that are wanted at the same time", async (test) => {
    const broker = await aBroker(test);
    for (const name of ["a", "b", "c"]) await broker.createTopic(name);
    const cluster = aCluster(test, broker);
    let rounds = 0;
    cluster.onChange(() => rounds++);
    await broker.scheduler.runUntil(cluster.topic("a"));
    await broker.scheduler.runUntil(Promise.all(["b", "c", "b"].map((name) => cluster.askTopic(name))));
    // The first of them cannot wait for the others; these share the next round.
    assert(rounds <= 3, `${rounds} rounds`);
  });

  it("goes on after the broker was away, and says so when it does not come back", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const cluster = aCluster(test, broker);
    await broker.scheduler.runUntil(cluster.topic("orders"));
    broker.crash();
    await broker.scheduler.runUntil(
      assert.rejects(cluster.askTopic("orders", { searchMs: 5_000 }), NoBrokerError),
    );
    const asked = cluster.askTopic("orders", { searchMs: 60_000 });
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 20_000 });
    await broker.boot();
    assert.equal((await broker.scheduler.runUntil(asked)).name, "orders");
  });

  it("says at once, on connect, that nobody listens", async (test) => {
    const broker = await aBroker(test);
    const cluster = aCluster(test, broker, { bootstrap: "127.0.0.1:1" });
    const begin = broker.scheduler.nowMs;
    await broker.scheduler.runUntil(
      assert.rejects(cluster.connect(), {
        name: "NoBrokerError",
        message:
          "The broker at 127.0.0.1:1 cannot be reached: nothing listens there. Is the broker running, and are host and port right?",
      }),
    );
    assert(broker.scheduler.nowMs - begin < 1_000);
  });

  it("knows a web server and a TLS server by their first bytes, and a silent program by its silence", async (test) => {
    const broker = await aBroker(test);
    const answers = {
      7001: [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        /answers "HTTP…": it is not a Kafka broker but a web server/,
      ],
      7002: ["\x15\x03\x01\x00\x02\x02\x46", /wants TLS/],
      7003: ["", /does not answer as a Kafka broker does/],
      7004: ["\x00\x00\x00\x04\x00\x00\x00\x63", /an answer that belongs to no request/],
    } as const;
    for (const [port, [answer, sentence]] of Object.entries(answers)) {
      await broker.network.listen({ host: "127.0.0.1", port: Number(port) }, (socket) =>
        socket.open({
          onData: () => void (answer === "" || socket.write([Buffer.from(answer, "latin1")])),
          onEnd: () => undefined,
          onDrain: () => undefined,
          onClose: () => undefined,
        }),
      );
      const cluster = aCluster(test, broker, { bootstrap: `127.0.0.1:${port}` });
      await broker.scheduler.runUntil(
        assert.rejects(cluster.connect(), (cause: unknown) => {
          assert(cause instanceof NotKafkaError, String(cause));
          assert.match(cause.message, sentence);
          return true;
        }),
      );
    }
  });
});

describe("the first connection", () => {
  it("to a broker that is just ending or beginning is tried again for a while", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const door = await Door.before(broker);
    let greetings = 0;
    door.on(ApiVersions, () => (++greetings <= 3 ? "cut-before" : "pass"));
    const cluster = aCluster(test, broker, { bootstrap: door.bootstrap });
    assert.equal((await broker.scheduler.runUntil(cluster.topic("orders"))).partitions.length, 1);
    assert.equal(greetings, 4);
    const other = await Door.before(broker, 7201);
    other.on(ApiVersions, () => "cut-before");
    const never = aCluster(test, broker, { bootstrap: other.bootstrap, bootstrapTimeoutMs: 2_000 });
    await broker.scheduler.runUntil(assert.rejects(never.topic("orders"), NotKafkaError));
  });
});

describe("a refresh in the background", () => {
  it("is one question, however often it is asked for while it is under way", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const cluster = aCluster(test, broker, { metadataMaxAgeMs: 1_000 });
    await broker.scheduler.runUntil(cluster.topic("orders"));
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 1_500 });
    let rounds = 0;
    cluster.onChange(() => rounds++);
    // What is known is old: each look would like it to be newer.
    for (let look = 0; look < 1_000; look++) cluster.peek("orders");
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 500 });
    assert.equal(rounds, 1);
  });
});
