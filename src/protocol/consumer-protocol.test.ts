import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from "./consumer-protocol.ts";

const subscription = {
  topics: ["a", "b"],
  userData: Buffer.from("x"),
  ownedPartitions: [{ topic: "a", partitions: [0, 2] }],
  generationId: 4,
  rackId: "r",
};

describe("the consumer protocol", () => {
  it("is read back as it was written; an older version leaves out what it does not know", () => {
    assert.deepEqual(decodeSubscription(encodeSubscription(subscription)), subscription);
    const oldest = decodeSubscription(encodeSubscription(subscription, 0));
    assert.deepEqual(
      [oldest.topics, oldest.ownedPartitions, oldest.generationId, oldest.rackId],
      [["a", "b"], [], -1, null],
    );
    const assignment = { assignedPartitions: [{ topic: "a", partitions: [0, 1] }], userData: null };
    assert.deepEqual(decodeAssignment(encodeAssignment(assignment)), assignment);
  });

  it("has Kafka's bytes", () => {
    // int16 version 1, one topic "t", no user data, owned: "t" with partition 3.
    const bytes =
      "0001" + "00000001" + "000174" + "ffffffff" + "00000001" + "000174" + "00000001" + "00000003";
    const owned = [{ topic: "t", partitions: [3] }];
    const value = { topics: ["t"], userData: null, ownedPartitions: owned, generationId: -1, rackId: null };
    assert.equal(Buffer.from(encodeSubscription(value, 1)).toString("hex"), bytes);
  });

  it("reads a version that is newer than it knows, whose additions come at the end", () => {
    const newer = Buffer.concat([encodeSubscription(subscription), Buffer.from("more")]);
    newer.writeInt16BE(9);
    assert.deepEqual(decodeSubscription(newer), subscription);
  });
});
