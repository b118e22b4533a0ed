import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RecordMetadata } from "../client/records.ts";
import { Delivery } from "./delivery.ts";
import { StallNotice } from "./stall-notice.ts";
import { TestTerminal } from "./terminal-fixture.ts";

const metadata: RecordMetadata = { topic: "t", partition: 0, offset: 0, timestampMs: 0 };

describe("records on their way", () => {
  it("that are not acknowledged for long are said, those that are acknowledged are not", (context) => {
    context.mock.timers.enable({ apis: ["setInterval"] });
    const terminal = new TestTerminal();
    const delivery = new Delivery({ acknowledged: () => Promise.resolve(), failed: () => {} });
    const stall = new StallNotice(terminal, delivery, 5_000);
    const told: string[] = [];
    context.mock.method(terminal.stderr, "write", (text: string) => {
      told.push(text);
      return Promise.resolve();
    });
    context.mock.timers.tick(5_000);
    delivery.give(1, new Promise(() => {}));
    context.mock.timers.tick(5_000);
    assert.deepEqual(told, []);
    context.mock.timers.tick(5_000);
    assert.match(told.join(""), /^Nothing was acknowledged in the last 5 s; 1 record is under way/);
    stall.stop();
    context.mock.timers.tick(50_000);
    assert.equal(told.length, 1);
  });

  it("are told in the order given, each with its fate; a failure is known at once", async () => {
    const order: number[] = [];
    let failed = 0;
    const delivery = new Delivery({
      acknowledged: ({ number }) => {
        order.push(number);
        return Promise.resolve();
      },
      failed: () => failed++,
    });
    let resolveFirst = (_of: RecordMetadata): void => {};
    delivery.give(
      10,
      new Promise((resolve) => {
        resolveFirst = resolve;
      }),
    );
    delivery.give(10, Promise.resolve(metadata));
    delivery.give(10, Promise.reject(new Error("nobody knows")));
    delivery.give(10, Promise.resolve(metadata));
    await new Promise(setImmediate);
    assert.deepEqual([delivery.hasFailed, delivery.failure, delivery.underWay, order], [true, null, 4, []]);
    resolveFirst(metadata);
    await delivery.finished();
    assert.deepEqual(order, [1, 2, 4]);
    assert.deepEqual([delivery.acknowledged, delivery.unknown, delivery.notWritten, failed], [3, 1, 0, 1]);
    assert.equal(delivery.failure?.number, 3);
  });

  it("are bounded in number and bytes", async () => {
    const delivery = new Delivery({ acknowledged: () => Promise.resolve(), failed: () => {} });
    let resolve = (_of: RecordMetadata): void => {};
    delivery.give(
      64 * 1024 * 1024,
      new Promise((done) => {
        resolve = done;
      }),
    );
    assert.equal(delivery.isFull, true);
    let hasRoom = false;
    const room = delivery.room().then(() => {
      hasRoom = true;
    });
    await new Promise(setImmediate);
    assert.equal(hasRoom, false);
    resolve(metadata);
    await room;
    assert.equal(delivery.isFull, false);
  });
});
