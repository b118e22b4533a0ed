/** The order in which changes of a share-partition reach a state that lies at another broker. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { leaderEpoch } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { StateLine, type StateLineOptions } from "./state-line.ts";

/** A line to another broker, whose writes end when the test says so. */
function aLine() {
  const under: PromiseWithResolvers<unknown>[] = [];
  const lost: ErrorCode[] = [];
  let [most, decided] = [0, 0];
  const line = new StateLine({
    stateEpoch: 0,
    leaderEpoch: leaderEpoch(0),
    partitions: { failure: null },
    persister: {
      isHere: () => false,
      write() {
        const write = Promise.withResolvers<unknown>();
        under.push(write);
        most = Math.max(most, under.length);
        return write.promise;
      },
    },
    take() {
      if (decided === 0) return null;
      decided = 0;
      return { startOffset: 0, deliveryCompleteCount: 0, batches: [] };
    },
    onLost: (why: ErrorCode) => void lost.push(why),
  } as unknown as StateLineOptions);
  const decide = () => {
    decided++;
    const persisted = line.persisted();
    persisted.catch(() => undefined);
    return persisted;
  };
  return { line, under, lost, decide, most: () => most };
}

test("one write to another broker is under way at a time, whoever asks while one ends", async () => {
  const { under, decide, most } = aLine();
  void decide();
  void decide();
  under.shift()?.resolve({ kind: "told" });
  // In each step in which the first ends, something else is decided.
  for (let step = 0; step < 20; step++) {
    await Promise.resolve();
    void decide();
  }
  assert.equal(most(), 1);
});

test("what was decided behind a write that is under way leaves, also when the share-partition ends before", async () => {
  const { line, under, decide } = aLine();
  const [first, second] = [decide(), decide()];
  const idle = line.idle().then(() => "idle");
  line.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  assert.equal(await decide(), ErrorCode.NOT_LEADER_OR_FOLLOWER);
  under.shift()?.resolve({ kind: "told" });
  assert.equal(await first, null);
  assert.equal(await Promise.race([idle, new Promise((resolve) => setImmediate(resolve))]), undefined);
  assert.equal(under.length, 1);
  under.shift()?.resolve({ kind: "told" });
  assert.deepEqual([await second, await idle], [null, "idle"]);
});

test("a write that fails where it may not ends the line: what it had is lost, and nothing later is told as kept", async () => {
  const { line, under, lost, decide } = aLine();
  const [first, second] = [decide(), decide()];
  under.shift()?.reject(new Error("never thought of"));
  await assert.rejects(first);
  await assert.rejects(second);
  assert.equal(await decide(), ErrorCode.KAFKA_STORAGE_ERROR);
  await line.idle();
  assert.deepEqual([lost, under.length], [[ErrorCode.KAFKA_STORAGE_ERROR], 0]);
});
