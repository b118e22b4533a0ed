import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { offset, topicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Acknowledgements, AcknowledgeType, nameOf, type Wish } from "./acknowledgements.ts";

const place = { topic: "t", topicId: topicId("00000000-0000-0000-0000-000000000001"), partition: 0 };
const name = nameOf(place);

interface Asked {
  readonly at: number;
  /** NONE, or why it was refused. */
  result: string | undefined;
}

function ask(wishes: Acknowledgements, at: number, type: AcknowledgeType = AcknowledgeType.accept): Asked {
  const asked: Asked = { at, result: undefined };
  wishes.add({
    place,
    first: at,
    last: at,
    type,
    delivery: undefined,
    giveUpMs: 1_000,
    onDone: () => {
      asked.result = "done";
    },
    onFailed: (_cause, fate) => {
      asked.result = fate;
    },
    isDoubtful: false,
    together: Number.POSITIVE_INFINITY,
  });
  return asked;
}

const when = { sentMs: 0, lockMs: 30_000, nowMs: 10 };
const answer = (errorCode: number) => ({ errorCode, message: null });

/** Offsets that the request names. */
function named(topics: ReturnType<Acknowledgements["take"]>["topics"]): number[] {
  return topics.flatMap(({ partitions }) =>
    partitions.flatMap(({ acknowledgementBatches }) =>
      acknowledgementBatches.flatMap(({ firstOffset, lastOffset }) =>
        Array.from({ length: lastOffset - firstOffset + 1 }, (_, index) => firstOffset + index),
      ),
    ),
  );
}

describe("what is said of messages", () => {
  // Broken when a refusal of the request is told to all that it carried.
  it("is answered for each by itself, though a broker refuses a request for one of its offsets", () => {
    const offsets = fc.uniqueArray(fc.nat({ max: 300 }), { minLength: 1, maxLength: 120 });
    fc.assert(
      fc.property(offsets, fc.func(fc.boolean()), (all, isGood) => {
        const wishes = new Acknowledgements();
        const asked = all.map((at) => ask(wishes, at));
        let requests = 0;
        while (!wishes.isEmpty) {
          const carried = wishes.take();
          const good = named(carried.topics).every((at) => isGood(at));
          wishes.settle(carried, name, answer(good ? ErrorCode.NONE : ErrorCode.INVALID_RECORD_STATE), when);
          assert.ok(++requests < 20 * all.length + 20);
        }
        for (const { at, result } of asked) assert.equal(result, isGood(at) ? "done" : "not-acknowledged");
      }),
    );
  });

  it("goes out as runs of one kind, and never twice for one offset in a request", () => {
    const wishes = new Acknowledgements();
    for (const at of [3, 1, 2, 7]) ask(wishes, at);
    ask(wishes, 4, AcknowledgeType.release);
    ask(wishes, 2, AcknowledgeType.renew);
    const [topic] = wishes.take().topics;
    assert.deepEqual(topic?.partitions[0]?.acknowledgementBatches, [
      { firstOffset: offset(1), lastOffset: offset(3), acknowledgeTypes: [1] },
      { firstOffset: offset(4), lastOffset: offset(4), acknowledgeTypes: [2] },
      { firstOffset: offset(7), lastOffset: offset(7), acknowledgeTypes: [1] },
    ]);
    assert.ok(wishes.hasRenewals);
    assert.deepEqual(named(wishes.take().topics), [2]);
    assert.ok(wishes.isEmpty && !wishes.hasRenewals);
  });

  it("is unknown once a request that carried it may have been carried out", () => {
    const wishes = new Acknowledgements();
    const asked = ask(wishes, 5);
    const carried = wishes.take();
    for (const wish of carried.wishes.get(name) as readonly Wish[]) wish.isDoubtful = true;
    wishes.again(carried.wishes.get(name) ?? [], new Error("the connection ended"), 10);
    wishes.settle(wishes.take(), name, answer(ErrorCode.INVALID_RECORD_STATE), when);
    assert.equal(asked.result, "unknown");
  });

  it("is tried again after what passes, and given up in time", () => {
    const wishes = new Acknowledgements();
    const asked = ask(wishes, 5);
    wishes.settle(wishes.take(), name, answer(ErrorCode.COORDINATOR_NOT_AVAILABLE), when);
    assert.equal(asked.result, undefined);
    wishes.settle(wishes.take(), name, answer(ErrorCode.REQUEST_TIMED_OUT), { ...when, nowMs: 1_001 });
    assert.equal(asked.result, "unknown");
    const moved = ask(wishes, 6);
    wishes.settle(wishes.take(), name, answer(ErrorCode.NOT_LEADER_OR_FOLLOWER), when);
    assert.equal(moved.result, "unknown");
  });
});
