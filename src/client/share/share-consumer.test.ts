import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { counted } from "../../../test/consumer-fixture.ts";
import type { Treatment } from "../../../test/door.ts";
import type { Process } from "../../../test/group-fixture.ts";
import { lockMs, ShareWorld, take, textOf, until } from "../../../test/share-workers.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { ShareAcknowledge } from "../../protocol/messages/share-acknowledge.ts";
import { ShareFetch } from "../../protocol/messages/share-fetch.ts";
import { OptionError, UnknownTopicError } from "../errors.ts";
import { AcknowledgeError, Reject } from "./errors.ts";
import type { Message } from "./message.ts";
import { delayMsMax } from "./options.ts";

describe("a worker of a share group", () => {
  it("handles every message, accepts it when its handler returned, and is not given it again", async (test) => {
    const world = await ShareWorld.make(test);
    await world.broker.write("t", counted(0, 50));
    await world.broker.write("t", counted(50, 100), { partition: 1 });
    const seen: string[] = [];
    const worker = world.worker();
    const running = worker.run((message) => void seen.push(textOf(message)), { concurrency: 4 });
    await world.run(until(world, () => worker.stats.accepted === 100));
    await world.pass(2 * lockMs);
    assert.deepEqual(
      seen.map(Number).toSorted((a, b) => a - b),
      counted(0, 100).map(Number),
    );
    assert.equal(await world.waiting(), 0);
    await world.run(worker.close());
    await world.run(running);
    assert.deepEqual(worker.stats, { ...worker.stats, delivered: 100, failed: 0, locksLost: 0 });
  });

  it("is given a message again whose handler threw, and not one that was rejected", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["good", "flaky", "poison", "stubborn"]);
    const seen: string[] = [];
    const failures: string[] = [];
    const worker = world.worker();
    void worker.run(
      (message) => {
        seen.push(`${textOf(message)} ${message.deliveryCount}`);
        if (textOf(message) === "poison") throw new Reject("no mail address");
        if (textOf(message) === "stubborn") throw new Error("always");
        if (textOf(message) === "flaky" && message.deliveryCount < 3) throw new Error("again");
      },
      {
        deliveriesMax: 2,
        onFailed: ({ message, fate, cause }) =>
          failures.push(`${textOf(message)} ${fate}: ${(cause as Error).message}`),
      },
    );
    await world.run(until(world, () => worker.stats.accepted + worker.stats.rejected === 4));
    await world.pass(2 * lockMs);
    assert.deepEqual(seen.toSorted(), [
      "flaky 1",
      "flaky 2",
      "good 1",
      "poison 1",
      "stubborn 1",
      "stubborn 2",
    ]);
    assert.deepEqual(
      failures.toSorted(),
      [
        "flaky released: again",
        "flaky rejected: again",
        "poison rejected: no mail address",
        "stubborn rejected: always",
        "stubborn released: always",
      ].toSorted(),
    );
    assert.equal(await world.waiting(), 0);
    await world.run(worker.close());
  });

  it("renews locks while a handler works, so that nobody else is given its message", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["slow"]);
    const seen: number[] = [];
    const handle = async (message: Message): Promise<void> => {
      seen.push(message.deliveryCount);
      await world.sleep(5 * lockMs);
    };
    const [one, other] = [world.worker(), world.worker()];
    for (const worker of [one, other]) void worker.run(handle);
    await world.run(until(world, () => one.stats.accepted + other.stats.accepted === 1));
    assert.deepEqual(seen, [1]);
    await world.run(Promise.all([one.close(), other.close()]));
  });

  it("without a word of it is given a message again when the lock ran out, and told that its word comes too late", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["a"]);
    const worker = world.worker();
    const [first] = await world.run(take(worker, 1));
    const [again] = await world.run(take(worker, 1));
    assert.deepEqual([first?.deliveryCount, again?.deliveryCount], [1, 2]);
    assert.ok(first?.signal.aborted);
    await assert.rejects(world.run(first.accept()), (cause: AcknowledgeError) => {
      return cause instanceof AcknowledgeError && cause.fate === "not-acknowledged" && cause.offset === 0;
    });
    await world.run((again as Message).accept());
    await assert.rejects(world.run((again as Message).accept()), /something was said of it already/);
    assert.equal(await world.waiting(), 0);
    await world.run(worker.close());
  });

  it("is given the next message though it is slow and has said nothing of the last", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", counted(0, 4));
    const worker = world.worker();
    const messages: Message[] = [];
    const collected = (async () => {
      for await (const message of worker) {
        await world.sleep(2_000);
        if (messages.push(message) === 4) return;
      }
    })();
    await world.run(collected);
    await world.run(Promise.all(messages.map((message) => message.accept())));
    assert.deepEqual(messages.map(textOf), counted(0, 4));
    await world.run(worker.close());
  });

  it("keeps a message back for as long as its release says, and releases it when it is closed", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["a"]);
    const worker = world.worker();
    const [message] = await world.run(take(worker, 1));
    const beginMs = world.broker.scheduler.nowMs;
    const released = (message as Message).release({ delayMs: 4 * lockMs });
    const [again] = await world.run(take(worker, 1));
    assert.ok(world.broker.scheduler.nowMs - beginMs >= 4 * lockMs);
    assert.equal(again?.deliveryCount, 2);
    await world.run(released);
    await assert.rejects(again.release({ delayMs: delayMsMax + 1 }), OptionError);
    const second = again.release({ delayMs: delayMsMax });
    await world.run(worker.close());
    await world.run(second);
    const other = world.worker();
    assert.equal((await world.run(take(other, 1)))[0]?.deliveryCount, 3);
    await world.run(other.close());
  });

  it("lets handlers finish when it is closed, and releases what does not", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["quick", "endless"]);
    const worker = world.worker({ closeTimeoutMs: 5_000 });
    let reason: unknown;
    const running = worker.run(
      (message, { signal }) => {
        if (textOf(message) === "quick") return world.sleep(3_000);
        signal.addEventListener("abort", () => {
          reason = signal.reason;
        });
        return new Promise(() => undefined);
      },
      { concurrency: 2 },
    );
    await world.run(until(world, () => worker.stats.delivered === 2));
    await world.run(worker.close());
    await world.run(running);
    assert.match(String(reason), /closed before the handler had finished/);
    assert.deepEqual([worker.stats.accepted, worker.stats.released], [1, 1]);
    const other = world.worker();
    const [message] = await world.run(take(other, 1));
    assert.equal(textOf(message as Message), "endless");
    await world.run(other.close());
  });

  it("takes no more than it has hands for while handlers are slow", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", counted(0, 40));
    const [slow, quick] = [world.worker(), world.worker()];
    void slow.run(() => world.sleep(10 * lockMs), { concurrency: 2 });
    await world.run(until(world, () => slow.stats.delivered === 2));
    const seen: string[] = [];
    void quick.run((message) => void seen.push(textOf(message)));
    await world.run(until(world, () => seen.length === 38, lockMs));
    await world.run(until(world, () => slow.stats.accepted === 2));
    await world.run(Promise.all([slow.close(), quick.close()]));
  });

  // Broken when a lost answer counts as a word that was heard, or a handled message is forgotten with its connection.
  it("loses nothing and says nothing untrue while connections end in the middle of everything", async (test) => {
    const world = await ShareWorld.make(test);
    for (const partition of [0, 1])
      await world.broker.write("t", counted(partition * 100, partition * 100 + 100), { partition });
    const failures: AcknowledgeError[] = [];
    const seen = new Set<string>();
    const worker = world.worker({ onAcknowledgeFailed: (failure) => failures.push(failure) });
    void worker.run(
      async (message) => {
        await world.sleep(30);
        seen.add(textOf(message));
      },
      { concurrency: 5 },
    );
    let requests = 0;
    const sometimes = (): Treatment =>
      ++requests % 29 === 11 ? "cut-after" : requests % 29 === 22 ? "cut-before" : "pass";
    world.door.on(ShareFetch, sometimes);
    world.door.on(ShareAcknowledge, sometimes);
    await world.run(until(world, () => seen.size === 200));
    world.door.on(ShareFetch, () => "pass");
    world.door.on(ShareAcknowledge, () => "pass");
    await world.pass(3 * lockMs);
    assert.equal(await world.waiting(), 0);
    assert.ok(
      requests > 58 && failures.every((failure) => failure instanceof AcknowledgeError),
      String(failures),
    );
    // What was said in time of a message that came again meanwhile counts for both: it is not handled once more.
    assert.ok(worker.stats.delivered < 300, String(worker.stats.delivered));
    await world.run(worker.close());
  });

  it("says again what a broker refused because it had forgotten the session", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", counted(0, 30));
    let refused = 0;
    const forget = ({ shareSessionEpoch }: { readonly shareSessionEpoch: number }): Treatment =>
      shareSessionEpoch > 1 && ++refused % 3 === 1
        ? {
            rewrite: (answer: object) => ({
              ...answer,
              errorCode: ErrorCode.SHARE_SESSION_NOT_FOUND,
              responses: [],
            }),
          }
        : "pass";
    world.door.on(ShareFetch, forget);
    const worker = world.worker();
    const seen = new Set<string>();
    void worker.run((message) => void seen.add(textOf(message)));
    await world.run(until(world, () => seen.size === 30));
    await world.pass(3 * lockMs);
    assert.ok(refused > 1);
    assert.equal(await world.waiting(), 0);
    await world.run(worker.close());
  });

  // Broken when a message of a dead worker is not delivered again, or a lost one is counted as done.
  it("may die at any time: others are given what it had, and nothing is accepted that nobody handled", async (test) => {
    const world = await ShareWorld.make(test);
    const count = 300;
    for (const partition of [0, 1]) {
      const begin = (partition * count) / 2;
      await world.broker.write("t", counted(begin, begin + count / 2), { partition });
    }
    const handled = new Set<string>();
    const begin = (): Process => {
      const process = world.process();
      const handle = async (message: Message): Promise<void> => {
        await world.sleep(Number(message.value) % 10 === 3 ? 2_000 : 40);
        if (process.isAlive) handled.add(textOf(message));
      };
      void world.worker({}, process).run(handle, { concurrency: 3 });
      return process;
    };
    const living = [begin(), begin(), begin()];
    for (let round = 0; round < 8; round++) {
      await world.pass(700);
      living[round % 3]?.kill();
      living[round % 3] = begin();
      if (round % 4 === 2) {
        living[(round + 1) % 3]?.stop();
        await world.pass(1.5 * lockMs);
        living[(round + 1) % 3]?.cont();
      }
    }
    await world.run(until(world, () => handled.size === count));
    await world.pass(3 * lockMs);
    assert.equal(await world.waiting(), 0);
    for (const process of living) process.kill();
  });

  it("says at once that a topic is missing, and what makes no sense", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await assert.rejects(world.run(take(world.worker({ topic: "tt" }), 1)), UnknownTopicError);
    assert.throws(() => world.worker({ topic: [] }), OptionError);
    assert.throws(() => world.worker({ group: "" }), OptionError);
    assert.throws(() => world.worker({ prefetchMax: 1.5 }), OptionError);
    await assert.rejects(
      world.worker().run(() => undefined, { concurrency: 0 }),
      OptionError,
    );
  });

  it("goes on, and gives no message up, though what it calls to tell of failures throws", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["flaky"]);
    const oops = (): never => {
      throw new Error("oops");
    };
    const worker = world.worker({ onAcknowledgeFailed: oops });
    const running = worker.run(
      async (message) => {
        if (message.deliveryCount < 3) throw new Error("again");
        await message.accept();
        await message.accept();
      },
      { onFailed: oops, retryDelayMs: oops },
    );
    await world.run(until(world, () => worker.stats.accepted === 1, lockMs));
    await world.run(worker.close());
    await world.run(running);
    assert.equal(worker.stats.released, 2);
    assert.equal(await world.waiting(), 0);
  });

  it("tells what is said in vain of a broker that is away, when the time for it is over", async (test) => {
    const world = await ShareWorld.make(test, 1);
    await world.broker.write("t", ["a"]);
    const worker = world.worker({ acknowledgeTimeoutMs: 5_000 });
    const [message] = await world.run(take(worker, 1));
    for (const api of [ShareFetch, ShareAcknowledge]) world.door.on(api as never, () => "cut-before");
    await world.pass(1_000);
    const failure: { cause?: AcknowledgeError } = {};
    (message as Message).accept().catch((cause: unknown) => {
      failure.cause = cause as AcknowledgeError;
    });
    await world.pass(10_000);
    assert.equal(failure.cause?.word, "accept");
    assert.equal(worker.stats.accepted, 0);
    await world.run(worker.close());
  });
});
