import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { answering, type PeerBroker, PeerWorld, suspects } from "../../../test/peer-world.ts";
import { api } from "../../protocol/api.ts";
import { int32, struct } from "../../schema/types.ts";
import { handleForPeers } from "../handle.ts";
import { PeerError } from "./errors.ts";

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
