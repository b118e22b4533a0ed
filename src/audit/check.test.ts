import assert from "node:assert/strict";
import { test } from "node:test";
import { Story } from "../../test/story.ts";
import { check, describeReport } from "./check.ts";
import { examplesMax } from "./findings.ts";
import { History } from "./history.ts";

interface Plant {
  /** What no correct log does. */
  readonly bugs: readonly string[];
  /** What comes with it and is allowed. */
  readonly allowed?: readonly string[];
  readonly tell: (story: Story) => void;
}

const three = [
  [0, "a"],
  [1, "b"],
  [2, "c"],
] as const;
const [a, b, c] = three;

/** Three values in the log of `orders`, which consumer c1 has read. */
function threeRead(story: Story): void {
  for (const each of three) story.send("p1", story.orders, [each]);
  story.poll("c1", story.orders, three);
}

const plants: { readonly [name: string]: Plant } = {
  "an offset with two values": {
    bugs: ["inconsistent-offsets"],
    tell: (story) => {
      threeRead(story);
      story.send("p2", story.orders, [[-1, "x"]], "unknown");
      story.poll("c2", story.orders, [a, [1, "x"]]);
    },
  },
  "a value at two offsets": {
    bugs: ["duplicate"],
    tell: (story) => {
      threeRead(story);
      story.poll("c1", story.orders, [[3, "a"]]);
    },
  },
  "a value that was acknowledged and given to nobody who went past it": {
    bugs: ["lost-write"],
    allowed: ["poll-skip"],
    tell: (story) => {
      for (const each of three) story.send("p1", story.orders, [each]);
      story.take("c1", "subscribe", story.orders);
      story.poll("c1", story.orders, [a]);
      story.poll("c1", story.orders, [c]);
    },
  },
  "a value that nobody has read yet": {
    bugs: [],
    allowed: ["unseen"],
    tell: (story) => {
      threeRead(story);
      story.send("p1", story.orders, [[3, "d"]]);
    },
  },
  "a value that is not there at the end": {
    bugs: ["lost-suffix", "unseen"],
    tell: (story) => {
      threeRead(story);
      story.send("p1", story.orders, [[3, "d"]]);
      story.readAll("c2", story.orders, three);
    },
  },
  "a value of a send that failed": {
    bugs: ["G1a"],
    tell: (story) => {
      threeRead(story);
      story.send("p2", story.orders, [[-1, "x"]], "fail");
      story.poll("c1", story.orders, [[3, "x"]]);
    },
  },
  "a transaction that reads its own write": {
    bugs: ["precommitted-read"],
    tell: (story) => {
      const operation = story.open("t", "transaction");
      operation.stored(operation.sends(story.orders, "x"), 0);
      operation.polled(story.orders, 0, "x");
      story.close(operation);
    },
  },
  "a poll that leaves one out": {
    bugs: ["int-poll-skip"],
    tell: (story) => {
      threeRead(story);
      story.poll("c2", story.orders, [a, c]);
    },
  },
  "a poll that goes back": {
    bugs: ["int-nonmonotonic-poll"],
    tell: (story) => {
      threeRead(story);
      story.poll("c2", story.orders, [b, a]);
    },
  },
  "a poll that leaves one out after the last one": {
    bugs: ["poll-skip"],
    tell: (story) => {
      threeRead(story);
      story.poll("c2", story.orders, [a]);
      story.poll("c2", story.orders, [c]);
    },
  },
  "a poll that goes back behind the last one": {
    bugs: ["nonmonotonic-poll"],
    tell: (story) => {
      threeRead(story);
      story.poll("c2", story.orders, [b]);
      story.poll("c2", story.orders, [b]);
    },
  },
  "a poll that skips what stands at the place where it was told to begin": {
    bugs: ["poll-skip"],
    tell: (story) => {
      threeRead(story);
      story.take("c2", "assign", story.orders, 1);
      story.poll("c2", story.orders, [c]);
    },
  },
  "a jump of a consumer whose group may have moved it": {
    bugs: [],
    allowed: ["nonmonotonic-poll", "poll-skip"],
    tell: (story) => {
      threeRead(story);
      story.take("c2", "subscribe", story.orders);
      story.poll("c2", story.orders, [a]);
      story.poll("c2", story.orders, [c]);
      story.poll("c2", story.orders, [b]);
    },
  },
  "records of two operations between each other": {
    bugs: [],
    allowed: ["G0", "int-send-skip"],
    tell: (story) => {
      const first = story.open("p1", "send");
      first.stored(first.sends(story.orders, "a"), 0);
      story.send("p2", story.orders, [[1, "b"]]);
      first.stored(first.sends(story.orders, "c"), 2);
      story.close(first);
      story.poll("c1", story.orders, three);
    },
  },
  "one operation's records in the wrong order": {
    bugs: ["int-nonmonotonic-send"],
    tell: (story) => {
      story.send("p1", story.orders, [
        [1, "b"],
        [0, "a"],
      ]);
      story.poll("c1", story.orders, [a, b]);
    },
  },
  "a producer's operations in the wrong order": {
    bugs: ["nonmonotonic-send"],
    tell: (story) => {
      const first = story.open("p1", "send");
      const second = story.open("p1", "send");
      first.stored(first.sends(story.orders, "b"), 1);
      second.stored(second.sends(story.orders, "a"), 0);
      story.close(first);
      story.close(second);
      story.poll("c1", story.orders, [a, b]);
    },
  },
  "a send before one that was acknowledged before it began": {
    bugs: ["realtime-nonmonotonic-send"],
    allowed: ["G0-realtime"],
    tell: (story) => {
      story.send("p1", story.orders, [b]);
      story.send("p2", story.orders, [a]);
      story.poll("c1", story.orders, [a, b]);
    },
  },
  "a transaction of which only a part is there": {
    bugs: ["torn-transaction"],
    tell: (story) => {
      const operation = story.open("t", "transaction");
      operation.sends(story.orders, "x");
      operation.sends(story.other, "y");
      story.close(operation, "unknown");
      story.poll("c1", story.orders, [[0, "x"]]);
      story.readAll("c2", story.other, []);
    },
  },
  "a value in another partition": {
    bugs: ["wrong-place"],
    tell: (story) => {
      threeRead(story);
      story.poll("c2", story.other, [a]);
    },
  },
  "a value with other bytes": {
    bugs: ["altered"],
    tell: (story) => {
      story.send("p1", story.orders, [[0, "a", { payload: 1 }]]);
      story.poll("c1", story.orders, [[0, "a", { payload: 2 }]]);
    },
  },
  "a record with another key, other headers and another time": {
    bugs: ["header-truth"],
    tell: (story) => {
      story.send("p1", story.orders, [[0, "a", { key: null, headers: 1, timestampMs: 5 }]]);
      story.poll("c1", story.orders, [[0, "a", { key: "", headers: 2, timestampMs: 6 }]]);
    },
  },
  "a value that nobody sent": {
    bugs: ["phantom"],
    tell: (story) => {
      threeRead(story);
      story.poll("c1", story.orders, [[3, "ghost"]]);
    },
  },
  "the beginning of a producer's records gone": {
    bugs: ["lost-prefix"],
    allowed: ["poll-skip"],
    tell: (story) => {
      threeRead(story);
      story.readAll("c2", story.orders, [b, c]);
    },
  },
  "the middle of a producer's records gone": {
    bugs: ["lost-middle"],
    allowed: ["poll-skip"],
    tell: (story) => {
      threeRead(story);
      story.take("c2", "subscribe", story.orders, 0);
      story.poll("c2", story.orders, [a]);
      story.poll("c2", story.orders, [c], { isEnd: true });
    },
  },
  "the end of a producer's records gone": {
    bugs: ["lost-suffix"],
    tell: (story) => {
      threeRead(story);
      story.readAll("c2", story.orders, [a, b]);
    },
  },
  "two brokers with different ends": {
    bugs: ["divergence"],
    tell: (story) => {
      for (const each of three) story.send("p1", story.orders, [each]);
      story.poll("c1", story.orders, three, { broker: "1" });
      story.readAll("c2", story.orders, [a, b], { broker: "2" });
      story.readAll("c3", story.orders, three, { broker: "1" });
    },
  },
  "two brokers with different values": {
    bugs: ["divergence", "inconsistent-offsets"],
    tell: (story) => {
      threeRead(story);
      story.send("p2", story.orders, [[-1, "x"]], "unknown");
      story.poll("c2", story.orders, [a, b], { broker: "1" });
      story.poll("c3", story.orders, [a, [1, "x"]], { broker: "2" });
    },
  },
  "a lookup by time that misses the first record": {
    bugs: ["wrong-lookup"],
    tell: (story) => {
      story.send("p1", story.orders, [[0, "a", { timestampMs: 10 }]]);
      story.send("p1", story.orders, [[1, "b", { timestampMs: 20 }]]);
      story.poll("c1", story.orders, [a, b]);
      const look = story.open("c1", "look");
      look.lookedUp(story.orders, 5, 1);
      story.close(look);
    },
  },
  "a lookup by time that names an older record, or none": {
    bugs: ["wrong-lookup"],
    tell: (story) => {
      story.send("p1", story.orders, [[0, "a", { timestampMs: 10 }]]);
      story.send("p1", story.orders, [[1, "b", { timestampMs: 20 }]]);
      story.poll("c1", story.orders, [a, b]);
      const look = story.open("c1", "look");
      look.lookedUp(story.orders, 15, 0);
      look.lookedUp(story.orders, 15, -1);
      story.close(look);
    },
  },
  "a high watermark that goes back": {
    bugs: ["watermark-went-back"],
    tell: (story) => {
      for (const highWatermark of [5, 4]) {
        const look = story.open("c1", "look");
        look.watermarks(story.orders, { highWatermark });
        story.close(look);
      }
    },
  },
  "a high watermark at a record that was acknowledged": {
    bugs: ["watermark-went-back"],
    tell: (story) => {
      threeRead(story);
      const look = story.open("c1", "look");
      look.watermarks(story.orders, { highWatermark: 2 });
      story.close(look);
    },
  },
  "a record at its high watermark": {
    bugs: ["watermark-order"],
    tell: (story) => {
      story.send("p1", story.orders, [a], "unknown");
      const poll = story.open("c1", "poll");
      poll.watermarks(story.orders, { highWatermark: 0 });
      poll.polled(story.orders, 0, "a");
      story.close(poll);
    },
  },
  "a last stable offset above the high watermark": {
    bugs: ["watermark-order"],
    tell: (story) => {
      const look = story.open("c1", "look");
      look.watermarks(story.orders, { logStart: 0, lastStable: 4, highWatermark: 3, logEnd: 5 });
      story.close(look);
    },
  },
  "a log that begins later although nothing may be deleted": {
    bugs: ["log-start-moved"],
    tell: (story) => {
      const look = story.open("c1", "look");
      look.watermarks(story.orders, { logStart: 1 });
      story.close(look);
    },
  },
};

for (const [name, { bugs, allowed = [], tell }] of Object.entries(plants)) {
  test(`found, and nothing else: ${name}`, () => {
    const story = new Story();
    tell(story);
    assert.deepEqual(story.found(), { bugs, allowed }, describeReport(story.check()));
  });
}

test("a history without an anomaly gives an empty report", () => {
  const story = new Story();
  threeRead(story);
  story.readAll("c2", story.orders, three);
  const report = story.check();
  assert.deepEqual([report.bugs, report.allowed], [[], []]);
  assert.equal(report.unseen.at(-1)?.count, 0);
  assert.ok(report.unseen.some(({ count }) => count === 3));
});

test("what retention deleted is not lost, and what compaction superseded neither", () => {
  const history = new History();
  const deleted = history.partition("deleted", 0, "delete");
  const compacted = history.partition("compacted", 0, "compact");
  const producer = history.client("p1");
  ["a", "b", "c"].forEach((value, offset) => {
    const send = producer.begin("send", offset);
    send.stored(send.sends(deleted, value), offset);
    send.stored(send.sends(compacted, `${value}2`, { key: value === "b" ? "other" : "same" }), offset);
    send.ok(offset);
  });
  const consumer = history.client("c1");
  const assign = consumer.begin("assign", 10);
  assign.takes(deleted, 0);
  assign.takes(compacted, 0);
  assign.ok(10);
  const poll = consumer.begin("poll", 11);
  poll.watermarks(deleted, { logStart: 2 });
  poll.polled(deleted, 2, "c");
  poll.polled(compacted, 1, "b2");
  poll.polled(compacted, 2, "c2");
  poll.reachedEnd(deleted);
  poll.reachedEnd(compacted);
  poll.ok(12);
  assert.deepEqual(check(history).bugs, []);
});

test("where records may be deleted, a lookup is judged when the log start was asked for afterwards", () => {
  for (const [logStart, bugs] of [
    [undefined, []],
    [1, []],
    [0, ["wrong-lookup"]],
  ] as const) {
    const story = new Story();
    const place = story.history.partition("deleted", 0, "delete");
    story.send("p1", place, [[0, "a", { timestampMs: 10 }]]);
    story.send("p1", place, [[1, "b", { timestampMs: 20 }]]);
    story.poll("c1", place, [a, b]);
    const lookup = story.open("c1", "look");
    lookup.lookedUp(place, 5, 1);
    story.close(lookup);
    if (logStart !== undefined) {
      const look = story.open("c1", "look");
      look.watermarks(place, { logStart });
      story.close(look);
    }
    assert.deepEqual(story.found(), { bugs, allowed: [] });
  }
});

test("a tombstone may leave a compacted partition, and no other record that is the newest of its key", () => {
  for (const isTombstone of [true, false]) {
    const history = new History();
    const place = history.partition("compacted", 0, "compact");
    const send = history.client("p1").begin("send", 0);
    send.stored(send.sends(place, "a", { key: "k", isTombstone }), 0);
    send.stored(send.sends(place, "b", { key: "other" }), 1);
    send.ok(1);
    const assign = history.client("c1").begin("assign", 2);
    assign.takes(place, 0);
    assign.ok(2);
    const poll = history.client("c1").begin("poll", 3);
    poll.polled(place, 1, "b");
    poll.ok(4);
    assert.equal(check(history).bugs.length, isTombstone ? 0 : 2);
  }
});

test("a duplicate, or a change of order, by a producer that is not idempotent is allowed", () => {
  const story = new Story();
  story.history.client("p1", { idempotent: false });
  threeRead(story);
  story.poll("c1", story.orders, [[3, "a"]]);
  assert.deepEqual(story.found(), { bugs: [], allowed: ["duplicate"] });
});

test("a finding names the partition, the offsets, the values and the operations in one sentence", () => {
  const story = new Story();
  threeRead(story);
  story.poll("c2", story.orders, [a, c]);
  const finding = story.check().bugs[0]?.examples[0];
  assert.equal(
    finding?.sentence,
    'Operation 4 of c2 went on reading orders/0 at 2 after offset 0, and skipped "b" at 1.',
  );
  assert.deepEqual(
    [finding?.partition, finding?.offsets, finding?.values, finding?.operations],
    ["orders/0", [1], ["b"], ["4: poll by c2, ok, 8 to 9 ms"]],
  );
});

test("of many cases of a kind all are counted and the first are told", () => {
  const story = new Story();
  for (let offset = 0; offset < 100; offset++) story.poll("c1", story.orders, [[offset, `ghost${offset}`]]);
  const [phantoms] = story.check().bugs;
  assert.equal(phantoms?.count, 100);
  assert.equal(phantoms?.examples.length, examplesMax);
});
