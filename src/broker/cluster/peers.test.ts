import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type PeerBroker, PeerWorld } from "../../../test/peer-world.ts";
import { RefusedError } from "../../base/errors.ts";
import { encodeSeal, slotKey } from "../../log/object-wal-format.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { handle, handleForPeers } from "../handle.ts";
import { api } from "../../protocol/api.ts";
import { PeerHeartbeat } from "../../protocol/messages/peer-heartbeat.ts";
import { PeerHello } from "../../protocol/messages/peer-hello.ts";
import { PeerProve } from "../../protocol/messages/peer-prove.ts";
import { int32, struct } from "../../schema/types.ts";
import { SimClient } from "../../sim/client.ts";
import { PeerError } from "./errors.ts";
import { peerKeyName } from "./peer-key.ts";

/** Three brokers that know each other. */
async function three(seed = 1): Promise<{ world: PeerWorld; brokers: [PeerBroker, PeerBroker, PeerBroker] }> {
  const world = new PeerWorld(seed);
  const brokers = [await world.start(), await world.start(), await world.start()] as [
    PeerBroker,
    PeerBroker,
    PeerBroker,
  ];
  await world.pass(1_000);
  return { world, brokers };
}

const others = (brokers: readonly PeerBroker[], own: PeerBroker) =>
  brokers.filter((each) => each !== own).map(({ epoch }) => epoch);
const answering = ({ peers }: PeerBroker) => Array.from(peers.answering()).sort((a, b) => a - b);
const suspects = ({ suspected }: PeerBroker) => suspected.map(({ epoch }) => epoch);
const says = ({ log }: PeerBroker, event: string) => log.filter((line) => line.event === event);

/** Counts what it is asked, and answers when it is let. */
const Count = api({
  key: 10_900,
  name: "Count",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({ number: int32 }),
  response: struct({ number: int32 }),
});

function counter() {
  const got: number[] = [];
  let go: () => void = () => undefined;
  let open: Promise<void> = Promise.resolve();
  return {
    got,
    hold: () => {
      open = new Promise((resolve) => {
        go = resolve;
      });
    },
    release: () => go(),
    handler: handleForPeers(Count, {
      async decide({ number }) {
        got.push(number);
        await open;
        return { number };
      },
    }),
  };
}

describe("brokers of one cluster", () => {
  test("find each other by the journal, and answer each other", async () => {
    const { brokers } = await three();
    for (const each of brokers) assert.deepEqual(answering(each), others(brokers, each));
  });

  test("hear of a command of one soon, whenever it comes, without waiting for a heartbeat", async () => {
    const { world, brokers } = await three();
    const [author, ...readers] = brokers;
    for (let round = 0; round < 10; round++) {
      await world.wait(author.journal.append({ kind: "producers", count: 10 }));
      await world.pass(150);
      const { nextSlot } = author.journal.state;
      for (const { journal } of readers) assert.equal(journal.state.nextSlot, nextSlot);
      await world.pass(world.random.fraction() * 500);
    }
  });

  test("tell an author soon that they have applied its command", async () => {
    const { world, brokers } = await three();
    const [author, ...readers] = brokers;
    let tookMs = 0;
    for (let round = 0; round < 10; round++) {
      await world.wait(author.journal.append({ kind: "producers", count: 10 }));
      const begunMs = world.scheduler.nowMs;
      const { nextSlot } = author.journal.state;
      await world.wait(author.peers.whenApplied(nextSlot - 1, 10_000));
      tookMs += world.scheduler.nowMs - begunMs;
      for (const { journal } of readers) assert.equal(journal.state.nextSlot, nextSlot);
      await world.pass(world.random.fraction() * 500);
    }
    assert.ok(tookMs < 1_500, `${tookMs} ms for ten`);
  });

  test("nobody is waited for who does not answer, and nobody for longer than told", async () => {
    const { world, brokers } = await three();
    const [author, stopped, other] = brokers;
    stopped.process.pause();
    await world.wait(author.journal.append({ kind: "producers", count: 10 }));
    const begunMs = world.scheduler.nowMs;
    const { nextSlot } = author.journal.state;
    await world.wait(author.peers.whenApplied(nextSlot - 1, 1_000));
    assert.ok(Math.abs(world.scheduler.nowMs - begunMs - 1_000) < 100);
    assert.equal(other.journal.state.nextSlot, nextSlot);
    await world.pass(1_000);
    const laterMs = world.scheduler.nowMs;
    await world.wait(author.peers.whenApplied(nextSlot - 1, 1_000));
    assert.ok(world.scheduler.nowMs - laterMs < 10);
  });

  test("share one key, whoever of them started first", async () => {
    const world = new PeerWorld();
    const [one, other] = await world.wait(Promise.all([world.begin(), world.begin()]));
    await world.pass(1_000);
    assert.deepEqual(answering(one), [other.epoch]);
    assert.deepEqual(answering(other), [one.epoch]);
  });
});

describe("a broker that dies", () => {
  test("is suspected by every other after the time that was set, and not much later", async () => {
    const { world, brokers } = await three();
    const [dead, ...alive] = brokers;
    world.kill(dead);
    const diedMs = world.scheduler.nowMs;
    await world.pass(2_400);
    for (const each of alive) assert.deepEqual(suspects(each), []);
    await world.pass(2_600);
    for (const each of alive) {
      assert.equal(each.suspected[0]?.epoch, dead.epoch);
      const tookMs = (each.suspected[0]?.atMs ?? 0) - diedMs;
      assert.ok(tookMs >= 2_400 && tookMs < 4_500, `${tookMs} ms`);
      assert.deepEqual(answering(each), others(alive, each));
    }
  });

  test("is suspected as well where it does not refuse connections but is silent", async () => {
    const { world, brokers } = await three();
    const [dead, ...alive] = brokers;
    dead.process.pause();
    await world.pass(5_000);
    for (const each of alive) assert.deepEqual(suspects(each), [dead.epoch]);
  });

  test("is suspected though somebody seals its log", async () => {
    const { world, brokers } = await three();
    const [dead, one] = brokers;
    world.kill(dead);
    for (let slot = 0; slot < 10; slot++) {
      const { clusterId } = one.journal.state;
      const seal = encodeSeal({ clusterId, epoch: dead.epoch, slot });
      await world.wait(one.store.putIfAbsent(slotKey(dead.epoch, slot), [seal], seal.byteLength));
      await world.pass(500);
    }
    assert.deepEqual(suspects(one), [dead.epoch]);
  });

  test("while it hands over its partitions has three times the time", async () => {
    const { world, brokers } = await three();
    const [leaving, one] = brokers;
    await world.wait(one.journal.append({ kind: "drain", epoch: leaving.epoch }));
    world.kill(leaving);
    await world.pass(8_500);
    assert.deepEqual(suspects(one), []);
    await world.pass(2_500);
    assert.deepEqual(suspects(one), [leaving.epoch]);
  });

  test("is named again while nothing comes of it, less and less often", async () => {
    const { world, brokers } = await three();
    const [dead, one] = brokers;
    world.kill(dead);
    await world.pass(120_000);
    const times = one.suspected.filter(({ epoch }) => epoch === dead.epoch).map(({ atMs }) => atMs);
    assert.ok(times.length >= 3 && times.length <= 6, `${times.length} times`);
    const pauses = times.slice(1).map((at, index) => at - (times[index] as number));
    assert.deepEqual(
      pauses,
      pauses.toSorted((a, b) => a - b),
    );
  });

  test("is nobody's business any more when the journal has fenced it, and gets no call", async () => {
    const { world, brokers } = await three();
    const [dead, one, other] = brokers;
    world.kill(dead);
    await world.wait(one.journal.append({ kind: "fence", epoch: dead.epoch }));
    await world.pass(1_000);
    await assert.rejects(world.wait(one.peers.call(dead.epoch, PeerHeartbeat, { nextSlot: 0 })), (error) => {
      return error instanceof PeerError && error.trouble === "gone" && !error.sent;
    });
    await world.pass(20_000);
    for (const each of [one, other]) assert.deepEqual(suspects(each), []);
  });

  test("is suspected at once when it starts again, since its place is taken", async () => {
    const { world, brokers } = await three();
    const [dead] = brokers;
    world.kill(dead);
    const next = await world.start({ port: dead.port });
    await world.wait(next.peers.refuseOrSuspectPredecessors());
    assert.deepEqual(suspects(next), [dead.epoch]);
  });
});

describe("a broker that lives", () => {
  test("is not suspected for any pause of its loop of 2.5 s, wherever it begins", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { world, brokers } = await three(seed);
      const [slow, ...rest] = brokers;
      for (let round = 0; round < 8; round++) {
        await world.pass(world.random.fraction() * 700);
        slow.process.pause();
        await world.pass(2_500);
        slow.process.resume();
      }
      await world.pass(3_000);
      for (const each of rest) assert.deepEqual(suspects(each), [], `seed ${seed}`);
      assert.deepEqual(suspects(slow), [], `seed ${seed}`);
    }
  });

  test("is not suspected while it writes, though nobody reaches it", async () => {
    const { world, brokers } = await three();
    const [far, ...near] = brokers;
    for (const each of near) world.network.cut(far.process, each.process);
    for (let second = 0; second < 30; second++) {
      await world.wait(far.write());
      await world.pass(1_000);
    }
    for (const each of near) {
      assert.deepEqual(suspects(each), []);
      assert.deepEqual(answering(each), others(near, each));
      assert.ok(says(each, "peers.writes-and-does-not-answer").length > 0);
    }
    await world.pass(8_000);
    for (const each of near) assert.deepEqual(suspects(each), [far.epoch]);
  });

  test("is not suspected because the store does not answer us", async () => {
    const { world, brokers } = await three();
    const [one, two, dead] = brokers;
    world.bucket.storm(60_000, 1);
    world.kill(dead);
    await world.pass(55_000);
    for (const each of [one, two]) assert.deepEqual(suspects(each), []);
    await world.pass(15_000);
    for (const each of [one, two]) assert.deepEqual(suspects(each).slice(0, 1), [dead.epoch]);
  });

  test("does not suspect others after a pause of its own", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { world, brokers } = await three(seed);
      const [sleeper] = brokers;
      await world.pass(world.random.fraction() * 1_000);
      sleeper.process.pause();
      await world.pass(30_000);
      sleeper.process.resume();
      await world.pass(10_000);
      assert.deepEqual(suspects(sleeper), [], `seed ${seed}`);
      assert.deepEqual(answering(sleeper), others(brokers, sleeper));
    }
  });

  test("does not suspect one that was stopped as long, and comes back a moment later", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { world, brokers } = await three(seed);
      const [one, other, third] = brokers;
      world.kill(third);
      other.process.pause();
      await world.pass(2_000);
      one.process.pause();
      await world.pass(5_000 + world.random.fraction() * 1_000);
      one.process.resume();
      await world.pass(1_000);
      other.process.resume();
      await world.pass(6_000);
      assert.deepEqual(suspects(one), [third.epoch], `seed ${seed}`);
    }
  });

  test("that was only slow is given more time the next time", async () => {
    const { world, brokers } = await three();
    const [slow, one] = brokers;
    slow.process.pause();
    await world.pass(5_000);
    slow.process.resume();
    await world.pass(5_000);
    assert.deepEqual(suspects(one), [slow.epoch]);
    assert.equal(says(one, "peers.was-only-slow").length, 1);
    slow.process.pause();
    await world.pass(5_000);
    slow.process.resume();
    await world.pass(5_000);
    assert.deepEqual(suspects(one), [slow.epoch]);
    world.kill(slow);
    await world.pass(10_000);
    assert.deepEqual(suspects(one), [slow.epoch, slow.epoch]);
  });

  test("is not suspected for connections that are cut again and again", async () => {
    const { world, brokers } = await three();
    for (let cut = 0; cut < 300; cut++) {
      world.network.cutOne();
      await world.pass(world.random.fraction() * 300);
    }
    await world.pass(2_000);
    for (const each of brokers) {
      assert.deepEqual(suspects(each), []);
      assert.deepEqual(answering(each), others(brokers, each));
    }
  });

  test("keeps a second one of its name from starting", async () => {
    const { world, brokers } = await three();
    const [first] = brokers;
    const second = await world.start({ port: 9_500, name: `127.0.0.1:${first.port}` });
    await assert.rejects(world.wait(second.peers.refuseOrSuspectPredecessors()), (error) => {
      return error instanceof RefusedError && error.message.includes("is running already");
    });
    assert.deepEqual(suspects(second), []);
  });
});

describe("a network that falls apart", () => {
  test("makes the halves suspect each other, and comes together again", async () => {
    const { world, brokers } = await three();
    const [one, two, third] = brokers;
    world.network.cut(one.process, two.process);
    world.network.cut(one.process, third.process);
    await world.pass(6_000);
    assert.deepEqual(new Set(suspects(one)), new Set([two.epoch, third.epoch]));
    for (const each of [two, third]) assert.deepEqual(suspects(each), [one.epoch]);
    world.network.heal(one.process, two.process);
    world.network.heal(one.process, third.process);
    await world.pass(5_000);
    for (const each of brokers) assert.deepEqual(answering(each), others(brokers, each));
  });
});

describe("whoever is no broker of the cluster", () => {
  const knock = async (world: PeerWorld, { port }: PeerBroker) => {
    const client = SimClient.connect(world.network, port, "stranger");
    assert.ok(client !== null);
    return client;
  };
  const endings = (broker: PeerBroker) =>
    says(broker, "connection.closed").map(({ facts }) => String(facts["reason"]));

  test("loses the connection when it asks what only peers may", async () => {
    const { world, brokers } = await three();
    const client = await knock(world, brokers[0]);
    await assert.rejects(world.wait(client.call(PeerHeartbeat, 0, { nextSlot: 5 })));
    await world.pass(100);
    assert.match(endings(brokers[0])[0] ?? "", /PeerHeartbeat.*did not prove to be one/);
  });

  test("loses the connection when it cannot prove what it says", async () => {
    const { world, brokers } = await three();
    const [broker, other] = brokers;
    const { clusterId } = broker.journal.state;
    const hello = { clusterId, from: other.epoch, to: broker.epoch };
    const client = await knock(world, broker);
    const { nonce } = await world.wait(client.call(PeerHello, 0, hello));
    assert.equal(nonce.byteLength, 32);
    const forged = { nonce: new Uint8Array(32), proof: new Uint8Array(32) };
    await assert.rejects(world.wait(client.call(PeerProve, 0, forged)));
    await world.pass(100);
    assert.match(endings(broker)[0] ?? "", /cannot prove it/);
    const again = await knock(world, broker);
    await assert.rejects(world.wait(again.call(PeerProve, 0, forged)));
  });

  test("is told neither of another cluster nor of another life what its own would be", async () => {
    const { world, brokers } = await three();
    const [broker, other] = brokers;
    const { clusterId } = broker.journal.state;
    const client = await knock(world, broker);
    const elsewhere = { clusterId: "another", from: other.epoch, to: broker.epoch };
    assert.equal((await world.wait(client.call(PeerHello, 0, elsewhere))).errorCode, 104);
    const wrong = { clusterId, from: other.epoch, to: other.epoch };
    const answer = await world.wait(client.call(PeerHello, 0, wrong));
    assert.deepEqual([answer.errorCode, answer.epoch, answer.nonce.byteLength], [77, broker.epoch, 0]);
  });

  test("with another key is no peer, and both sides say why", async () => {
    const world = new PeerWorld();
    const one = await world.start();
    await world.pass(100);
    for (const { objects } of [world.bucket, { objects: world.bucket.firstContents }])
      objects.delete(peerKeyName);
    const other = await world.start();
    await world.wait(one.journal.catchUp());
    await world.pass(2_000);
    assert.deepEqual(answering(one), []);
    assert.deepEqual(answering(other), []);
    assert.match(String(says(one, "peers.unreachable")[0]?.facts["cause"]), /does not take our proof/);
    assert.match(endings(one)[0] ?? "", /peer\/key/);
  });
});

describe("an impostor", () => {
  test("that listens at a broker's address and has no key is no peer", async () => {
    const world = new PeerWorld();
    const one = await world.start();
    const nonce = new Uint8Array(32);
    const impostor = await world.start({
      started: false,
      handlers: [
        handle(PeerHello, { decide: ({ to }) => ({ errorCode: ErrorCode.NONE, epoch: to, nonce }) }),
        handle(PeerProve, {
          decide: () => ({ proof: nonce, apis: [{ key: PeerHeartbeat.key, first: 0, last: 0 }] }),
        }),
        handle(PeerHeartbeat, { decide: () => ({ errorCode: ErrorCode.NONE, nextSlot: 1_000_000 }) }),
      ],
    });
    await world.wait(one.journal.catchUp());
    await world.pass(5_000);
    assert.deepEqual(answering(one), []);
    assert.deepEqual(suspects(one), [impostor.epoch]);
    assert.match(
      String(says(one, "peers.unreachable")[0]?.facts["cause"]),
      /has not the key of this cluster/,
    );
  });
});

describe("an address that changed hands", () => {
  test("does not answer for the one before: it is suspected, and gets no calls", async () => {
    const { world, brokers } = await three();
    const [before, one] = brokers;
    world.kill(before);
    const after = await world.start({ port: before.port, name: "127.0.0.1:9999" });
    await world.pass(500);
    await assert.rejects(
      world.wait(one.peers.call(before.epoch, PeerHeartbeat, { nextSlot: 0 })),
      (error) => error instanceof PeerError && error.trouble === "another" && !error.sent,
    );
    await world.pass(4_500);
    assert.deepEqual(suspects(one), [before.epoch]);
    assert.ok(one.peers.answering().has(after.epoch));
  });
});

describe("calls to a peer", () => {
  async function two(): Promise<{
    world: PeerWorld;
    asker: PeerBroker;
    asked: PeerBroker;
    count: ReturnType<typeof counter>;
  }> {
    const world = new PeerWorld();
    const count = counter();
    const asker = await world.start();
    const asked = await world.start({ handlers: [count.handler] });
    await world.pass(1_000);
    return { world, asker, asked, count };
  }

  test("arrive in the order in which they were made, many at a time, also the first ones", async () => {
    const { world, asker, asked, count } = await two();
    const numbers = Array.from({ length: 200 }, (_, at) => at);
    const answers = numbers.map((number) => asker.peers.call(asked.epoch, Count, { number }));
    await world.wait(Promise.all(answers));
    assert.deepEqual(count.got, numbers);
  });

  test("that take long delay no heartbeat", async () => {
    const { world, asker, asked, count } = await two();
    count.hold();
    const slow = asker.peers.call(asked.epoch, Count, { number: 1 });
    await world.pass(20_000);
    assert.deepEqual(answering(asker), [asked.epoch]);
    assert.deepEqual(suspects(asker), []);
    count.release();
    assert.deepEqual(await world.wait(slow), { number: 1 });
  });

  test("end when no answer comes in time: nobody knows whether they were carried out", async () => {
    const { world, asker, asked, count } = await two();
    count.hold();
    const lost = asker.peers.call(asked.epoch, Count, { number: 1 });
    await assert.rejects(world.wait(lost), (error) => {
      return error instanceof PeerError && error.trouble === "lost" && error.sent;
    });
    count.release();
    assert.deepEqual(await world.wait(asker.peers.call(asked.epoch, Count, { number: 2 })), { number: 2 });
    assert.deepEqual(count.got, [1, 2]);
  });

  test("that were answered while the asker stood still have their answer", async () => {
    const { world, asker, asked, count } = await two();
    count.hold();
    const call = asker.peers.call(asked.epoch, Count, { number: 1 });
    await world.pass(1_000);
    asker.process.pause();
    await world.pass(34_000);
    count.release();
    await world.pass(1_000);
    asker.process.resume();
    assert.deepEqual(await world.wait(call), { number: 1 });
  });

  test("are made in the newest version that both speak", async () => {
    const { world, asker, asked, count } = await two();
    const newer = api({ ...Count, versions: [0, 1] });
    assert.deepEqual(await world.wait(asker.peers.call(asked.epoch, newer, { number: 1 })), { number: 1 });
    assert.deepEqual(count.got, [1]);
  });

  test("end when the connection does, and are not sent twice", async () => {
    const { world, asker, asked, count } = await two();
    count.hold();
    const lost = asker.peers.call(asked.epoch, Count, { number: 1 });
    await world.pass(50);
    world.kill(asked);
    await assert.rejects(world.wait(lost), (error) => error instanceof PeerError && error.sent);
    const next = asker.peers.call(asked.epoch, Count, { number: 2 });
    await assert.rejects(world.wait(next), (error) => error instanceof PeerError && !error.sent);
    assert.deepEqual(count.got, [1]);
  });

  test("are bounded in number", async () => {
    const { world, asker, asked, count } = await two();
    count.hold();
    const calls = Array.from({ length: 1_001 }, (_, number) =>
      asker.peers.call(asked.epoch, Count, { number }).then(
        () => "answered",
        (error: PeerError) => error.trouble,
      ),
    );
    await world.pass(1_000);
    count.release();
    const outcomes = await world.wait(Promise.all(calls));
    assert.equal(outcomes.filter((each) => each === "full").length, 1);
    assert.equal(outcomes.filter((each) => each === "answered").length, 1_000);
  });

  test("of what the other one does not speak are not sent, and the connection stays", async () => {
    const { world, asker, asked } = await two();
    const call = asked.peers.call(asker.epoch, Count, { number: 1 });
    await assert.rejects(world.wait(call), (error) => {
      return error instanceof PeerError && error.trouble === "unspoken" && !error.sent;
    });
  });

  test("of one that the journal has fenced are not taken any more, and it hears so", async () => {
    const { world, asker, asked, count } = await two();
    await world.wait(asker.peers.call(asked.epoch, Count, { number: 1 }));
    world.network.cut(asker.process, asked.process);
    await world.wait(asked.journal.append({ kind: "fence", epoch: asker.epoch }));
    world.network.heal(asker.process, asked.process);
    const late = asker.peers.call(asked.epoch, Count, { number: 2 });
    await assert.rejects(world.wait(late), PeerError);
    await world.pass(3_000);
    const later = asker.peers.call(asked.epoch, Count, { number: 3 });
    await assert.rejects(world.wait(later), (error) => error instanceof PeerError && !error.sent);
    assert.deepEqual(count.got, [1]);
    assert.equal(asker.journal.state.brokers.get(asker.epoch)?.status, "fenced");
  });
});
