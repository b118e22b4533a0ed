import assert from "node:assert/strict";
import { test } from "node:test";
import { Story } from "../../test/story.ts";
import { describeReport } from "./check.ts";

const four = [
  [0, "a"],
  [1, "b"],
  [2, "c"],
  [3, "d"],
] as const;
const [a, b, c, d] = four;

/** Four values in `orders` that somebody has read. */
function finds(bugs: readonly string[], tell: (story: Story) => void): void {
  const story = new Story();
  for (const each of four) story.send("p", story.orders, [each]);
  story.poll("other", story.orders, four);
  tell(story);
  assert.deepEqual(story.found(), { bugs, allowed: [] }, describeReport(story.check()));
}

test("a consumer that is assigned anew may begin anywhere; where its partition stays, it goes on", () => {
  finds([], (story) => {
    story.poll("c", story.orders, [a]);
    story.take("c", "assign", story.other);
    story.take("c", "assign", story.orders);
    story.poll("c", story.orders, [c]);
    story.take("c", "assign", story.orders, 1);
    story.poll("c", story.orders, [b]);
  });
  finds(["poll-skip"], (story) => {
    story.take("c", "assign", story.orders);
    story.poll("c", story.orders, [a]);
    story.take("c", "assign", story.orders);
    story.poll("c", story.orders, [c]);
  });
});

test("a client that crashed begins anew", () =>
  finds([], (story) => {
    story.poll("c", story.orders, [c]);
    story.close(story.open("c", "crash"));
    story.poll("c", story.orders, [a]);
  }));

test("a poll that failed, or of which nothing is known, moves no position, and is judged by itself all the same", () => {
  for (const outcome of ["fail", "unknown"] as const) {
    finds([], (story) => {
      story.poll("c", story.orders, [a]);
      story.poll("c", story.orders, [b, c], { outcome });
      story.poll("c", story.orders, [b]);
    });
    finds(["int-poll-skip"], (story) => story.poll("c", story.orders, [a, c], { outcome }));
  }
});

test("within an operation in which the group moved the partition nothing is asked of the order", () =>
  finds([], (story) => {
    story.poll("c", story.orders, [a]);
    const poll = story.open("c", "poll");
    poll.rebalanced(story.orders);
    for (const [offset, value] of [c, a]) poll.polled(story.orders, offset, value);
    story.close(poll);
    story.poll("c", story.orders, [b]);
  }));

test("markers of transactions take offsets and are no skip", () =>
  finds([], (story) => {
    story.send("p", story.orders, [[9, "j"]]);
    story.poll("c", story.orders, [d]);
    story.poll("c", story.orders, [[9, "j"]]);
  }));

test("a transaction of unknown fate took effect if any of its records was read, and then all of them did", () => {
  const tell = (story: Story, isRead: boolean): void => {
    const transaction = story.open("t", "transaction");
    transaction.stored(transaction.sends(story.orders, "x"), 4);
    transaction.stored(transaction.sends(story.orders, "y"), 5);
    story.close(transaction, "unknown");
    story.send("p", story.orders, [[6, "z"]]);
    story.poll("c", story.orders, isRead ? [[4, "x"]] : [d]);
    story.poll("c", story.orders, [[6, "z"]]);
  };
  finds([], (story) => tell(story, false));
  finds(["lost-write", "poll-skip", "torn-transaction"], (story) => tell(story, true));
});

test("outside a transaction each record of an unknown operation stands for itself", () =>
  finds([], (story) => {
    const send = story.open("q", "send");
    send.sends(story.orders, "x");
    send.sends(story.other, "y");
    story.close(send, "unknown");
    story.poll("c", story.orders, [[4, "x"]]);
    story.readAll("last", story.other, []);
  }));
