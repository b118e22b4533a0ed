import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { check } from "./check.ts";
import { History } from "./history.ts";
import type { Operation } from "./operation.ts";

/** Histories of any length, each hard in its own way. */
const shapes: { readonly [name: string]: (history: History, length: number, jump: number) => void } = {
  "one after the other": (history, length, jump) => {
    const partition = history.partition("t", 0);
    for (let at = 0; at < length; at++) {
      send(history, partition, at * jump, at).ok(at);
      const poll = history.client("c").begin("poll", at);
      poll.polled(partition, at * jump, `v${at}`);
      poll.watermarks(partition, { highWatermark: at * jump + 1 });
      poll.ok(at);
    }
  },
  "all at once": (history, length, jump) => {
    const partition = history.partition("t", 0);
    const open = Array.from({ length }, (_, at) => send(history, partition, at * jump, at));
    for (const operation of open) operation.ok(length);
  },
  "every poll skips a tenth of the log or goes back": (history, length) => {
    const partition = history.partition("t", 0, "compact");
    for (let at = 0; at < length; at++) send(history, partition, at, at).ok(at);
    for (let at = 0; at < length; at++) {
      const poll = history.client(`c${at % 7}`).begin("poll", at);
      const offset = Math.floor(((at * length) / 10) % length);
      poll.polled(partition, offset, `v${offset}`);
      poll.ok(at);
    }
  },
  "every client is assigned anew again and again": (history, length) => {
    const partitions = Array.from({ length: 10 }, (_, index) => history.partition("t", index));
    for (let at = 0; at < length; at++) {
      const assign = history.client(`c${at % 3}`).begin("assign", at);
      for (const partition of partitions) assign.takes(partition, at % 5 === 0 ? at : undefined);
      assign.ok(at);
    }
  },
  "a group that commits ahead, resets and hears late": (history, length) => {
    const partition = history.partition("t", 0);
    const group = history.group("g");
    for (let at = 0; at < length; at++) send(history, partition, at, at).ok(at);
    for (let at = 0; at < length; at++) {
      const member = history.client(`m${at % 5}`);
      const join = member.begin("join", at).inGroup(group, at >> 2);
      join.owns(partition);
      join.ok(at);
      const commit = member.begin("commit", at).inGroup(group, at >> 3);
      commit.commits(partition, at);
      commit.ok(at);
      const fetch = member.begin("fetch-offsets", at).inGroup(group);
      fetch.committed(partition, at - 1);
      fetch.ok(at);
      const reset = member.begin("reset", at).inGroup(group);
      reset.resets(partition, at + 1);
      if (at % 2 === 0) reset.unknown(at);
      else reset.ok(at);
    }
  },
  "transactions that are torn, aborted and doubled": (history, length) => {
    const partitions = [history.partition("t", 0), history.partition("t", 1)] as const;
    for (let at = 0; at < length; at++) {
      const operation = history.client("t").begin("transaction", at);
      operation.stored(operation.sends(partitions[0], `v${at}`), at * 2);
      operation.sends(partitions[1], `w${at}`);
      if (at % 3 === 0) operation.fail(at);
      else operation.unknown(at);
      const poll = history.client("c").begin("poll", at);
      poll.polled(partitions[0], at * 2, `v${at}`);
      poll.polled(partitions[0], at * 2 + 1, `v${at}`);
      poll.ok(at);
    }
  },
};

function send(
  history: History,
  partition: ReturnType<History["partition"]>,
  offset: number,
  at: number,
): Operation {
  const operation = history.client(`p${at % 3}`).begin("send", at);
  operation.stored(operation.sends(partition, `v${at}`, { key: `${at % 11}`, timestampMs: at }), offset);
  return operation;
}

/** Work for each operation and step. */
function workIn(shape: (typeof shapes)[string], length: number, jump: number): number {
  const history = new History();
  shape(history, length, jump);
  const { work, operations, steps } = check(history);
  return work / (operations + steps);
}

for (const [name, shape] of Object.entries(shapes)) {
  test(`the work of a check grows with the length of the history and no faster: ${name}`, () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 80, max: 150 }),
        fc.integer({ min: 1, max: 1_000_000 }),
        (length, jump) => {
          const short = workIn(shape, length, jump);
          const long = workIn(shape, length * 8, jump);
          // Eight times as long costs eight times as much; a digit more to sort by is all that may come.
          assert.ok(long < short * 1.25 + 3, `${short} for each of a short history, ${long} of a long one`);
        },
      ),
      { numRuns: 4 },
    );
  });
}
