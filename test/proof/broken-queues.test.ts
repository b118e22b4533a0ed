import assert from "node:assert/strict";
import { test } from "node:test";
import { type BrokenQueue, judgeQueue } from "./broken-queues.ts";

/** Most that are simulated before it must have shown. */
const hours = 2;

/** A seed in which it shows, and what is said then; where the sources have changed since, a later one will do. */
const expected: { readonly [broken in BrokenQueue]: readonly [firstSeed: number, sentence: RegExp] } = {
  "an acknowledgement is answered before it is durable": [
    2,
    /given again after its acknowledgement was answered/,
  ],
  "what was locked at a restart stays locked for ever": [
    1,
    /is lost|was never given to anybody|has no letter/,
  ],
  "a dead letter is written and its record not archived": [
    1,
    /has \d+ dead letters|is lost|was never given to anybody/,
  ],
  "a record is archived and its dead letter written later": [1, /is lost|has no letter/],
  "a record that comes again is told before its last delivery's end is durable": [
    1,
    /after it was known to be given for the/,
  ],
  "a record is delivered once more than the limit allows": [1, /and the limit is/],
  "a lock ends before its time": [1, /was given to two at a time|in time, was answered with/],
  "what was locked when its lock ran out is archived": [1, /is lost/],
  "what is accepted at its last delivery is dead": [1, /was accepted and has a dead letter/],
  "what may end its workers is given along with others": [
    1,
    /for the last time, and not alone|given again to the one who has it/,
  ],
};

for (const [broken, [firstSeed, sentence]] of Object.entries(expected) as [
  BrokenQueue,
  readonly [number, RegExp],
][]) {
  test(`the world of queues sees a broker that breaks a rule: ${broken}`, async () => {
    assert.match(await judgeQueue(broken, { firstSeed, hours }), sentence);
  });
}
