import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { drawWeather } from "../../sim/bucket.ts";
import type { SimProcess } from "../../sim/process.ts";
import {
  answering,
  others,
  type PeerBroker,
  PeerWorld,
  says,
  suspects,
  three,
} from "../../../test/peer-world.ts";
import { RefusedError } from "../../base/errors.ts";
import { encodeSeal, slotKey } from "../../log/object-wal-format.ts";
import { PeerHeartbeat } from "../../protocol/messages/peer-heartbeat.ts";
import { PeerError } from "./errors.ts";

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

  test("is not suspected by a loaded cluster: stalls, cut connections, a store that is slow or away", async () => {
    const minutes = Number(process.env["PEER_MINUTES"] ?? 2);
    const world = new PeerWorld(Number(process.env["PEER_SEED"] ?? 1));
    const brokers: PeerBroker[] = [];
    for (let count = 0; count < 5; count++) brokers.push(await world.start());
    await world.pass(1_000);
    const { random, scheduler, network, bucket } = world;
    const endMs = scheduler.nowMs + minutes * 60_000;
    const again = (meanMs: number, run: () => void): void => {
      scheduler.schedule(random.fraction() * 2 * meanMs, () => {
        run();
        if (scheduler.nowMs < endMs) again(meanMs, run);
      });
    };
    let stalls = 0;
    // Between two stalls it has a second: who never has one is not live.
    const stall = (broker: SimProcess): void => {
      stalls++;
      broker.pause();
      scheduler.schedule(random.fraction() * 2_500, () => {
        broker.resume();
        const nextMs = 1_000 + random.fraction() * 12_000;
        if (scheduler.nowMs < endMs) scheduler.schedule(nextMs, () => stall(broker));
      });
    };
    for (const each of brokers) stall(each.process);
    again(500, () => void network.cutOne());
    again(60_000, () => bucket.storm(20_000, random.fraction()));
    again(60_000, () => {
      bucket.weather = drawWeather(random, 0.3);
    });
    await world.pass(endMs - scheduler.nowMs + 20_000);
    for (const each of brokers) {
      assert.deepEqual(suspects(each), []);
      assert.deepEqual(answering(each), others(brokers, each));
    }
    assert.ok(stalls > 10 * minutes, `${stalls} stalls`);
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
