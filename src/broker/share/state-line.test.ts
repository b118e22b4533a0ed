/** The order in which changes of a share-partition reach a state that lies at another broker. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { leaderEpoch } from "../../base/ids.ts";
import { StateLine, type StateLineOptions } from "./state-line.ts";

test("one write to another broker is under way at a time, whoever asks while one ends", async () => {
  const under = new Set<PromiseWithResolvers<unknown>>();
  let [most, decided] = [0, 0];
  const line = new StateLine({
    stateEpoch: 0,
    leaderEpoch: leaderEpoch(0),
    partitions: { failure: null },
    persister: {
      isHere: () => false,
      write() {
        const write = Promise.withResolvers<unknown>();
        under.add(write);
        most = Math.max(most, under.size);
        return write.promise;
      },
    },
    take() {
      if (decided === 0) return null;
      decided = 0;
      return { startOffset: 0, deliveryCompleteCount: 0, batches: [] };
    },
  } as unknown as StateLineOptions);
  const decide = (): void => {
    decided++;
    void line.persisted();
  };
  decide();
  decide();
  const [first] = under;
  under.delete(first as PromiseWithResolvers<unknown>);
  first?.resolve({ kind: "told" });
  // In each step in which the first ends, something else is decided.
  for (let step = 0; step < 20; step++) {
    await Promise.resolve();
    decide();
  }
  assert.equal(most, 1);
});
