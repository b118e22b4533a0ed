import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { leaderEpoch, offset } from "../base/ids.ts";
import { LeaderEpochs } from "./leader-epochs.ts";

/** Epochs 2, 5 and 6, which begin at offsets 10, 20 and 30. */
function someEpochs(): LeaderEpochs {
  const epochs = new LeaderEpochs();
  epochs.assign(leaderEpoch(2), offset(10));
  epochs.assign(leaderEpoch(5), offset(20));
  epochs.assign(leaderEpoch(6), offset(30));
  return epochs;
}

const endOf = (epochs: LeaderEpochs, epoch: number) => {
  const { leaderEpoch: found, endOffset } = epochs.endOf(leaderEpoch(epoch), offset(42));
  return [found, endOffset];
};

describe("leader epochs", () => {
  it("the current epoch ends at the end of the log", () => assert.deepEqual(endOf(someEpochs(), 6), [6, 42]));

  it("an earlier epoch ends where the next one begins", () => {
    assert.deepEqual(endOf(someEpochs(), 2), [2, 20]);
    assert.deepEqual(endOf(someEpochs(), 5), [5, 30]);
  });

  it("an epoch without records is answered with the one before it", () => {
    assert.deepEqual(endOf(someEpochs(), 4), [2, 20]);
  });

  it("an epoch before all that are known ends where the first known one begins", () => {
    assert.deepEqual(endOf(someEpochs(), 1), [1, 10]);
  });

  it("an epoch from the future, none, and an empty log are unknown", () => {
    assert.deepEqual(endOf(someEpochs(), 7), [-1, -1]);
    assert.deepEqual(endOf(someEpochs(), -1), [-1, -1]);
    assert.deepEqual(endOf(new LeaderEpochs(), 0), [-1, -1]);
  });

  it("an epoch that got no record gives way to the next one at the same offset", () => {
    const epochs = someEpochs();
    epochs.assign(leaderEpoch(9), offset(30));
    assert.deepEqual(endOf(epochs, 6), [5, 30]);
    assert.equal(epochs.at(offset(30)), 9);
  });

  it("a record's epoch is that which began last before it", () => {
    const epochs = someEpochs();
    assert.deepEqual(
      [9, 10, 19, 20, 35].map((at) => epochs.at(offset(at))),
      [-1, 2, 2, 5, 6],
    );
  });

  it("a moved log start forgets the epochs that ended before it", () => {
    const epochs = someEpochs();
    epochs.trimTo(offset(25));
    assert.deepEqual(epochs.asOf(offset(100)), [
      { leaderEpoch: 5, start: 25 },
      { leaderEpoch: 6, start: 30 },
    ]);
    epochs.trimTo(offset(20));
    assert.deepEqual(endOf(epochs, 2), [2, 25]);
  });

  it("as of an offset only epochs with a record below it count", () => {
    assert.deepEqual(
      someEpochs()
        .asOf(offset(30))
        .map((entry) => entry.leaderEpoch),
      [2, 5],
    );
  });

  it("an epoch never goes back", () => {
    assert.throws(() => someEpochs().assign(leaderEpoch(5), offset(50)), /never goes back/);
  });
});
