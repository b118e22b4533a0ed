/** Records of `__consumer_offsets` in Kafka's formats. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../base/ids.ts";
import { type GroupRecord, groupRecords } from "./group/records.ts";

const group: GroupRecord = {
  kind: "classic",
  key: { group: "g" },
  value: {
    protocolType: "consumer",
    generation: 3,
    protocol: "range",
    leader: "a",
    currentStateTimestamp: 1_700_000_000_000,
    members: [
      {
        memberId: "a",
        groupInstanceId: null,
        clientId: "c",
        clientHost: "/127.0.0.1",
        rebalanceTimeout: 60_000,
        sessionTimeout: 45_000,
        subscription: new Uint8Array([1, 2]),
        assignment: new Uint8Array([3]),
      },
    ],
  },
};
const committed: GroupRecord = {
  kind: "offset",
  key: { group: "g", topic: "t", partition: partitionIndex(1) },
  value: {
    offset: offset(7),
    leaderEpoch: leaderEpoch(2),
    metadata: "m",
    commitTimestamp: 1_700_000_000_000,
    expireTimestamp: -1,
    topicId: NO_TOPIC_ID,
  },
};

test("records are written in the versions in which Kafka writes them, and say the same when they are read", () => {
  for (const [record, keyVersion, valueVersion] of [
    [group, 2, 3],
    [committed, 1, 4],
  ] as const) {
    const { key, value } = groupRecords.encode(record);
    assert.equal(Buffer.from(key).readInt16BE(), keyVersion);
    assert.equal(Buffer.from(value ?? []).readInt16BE(), valueVersion);
    assert.deepEqual(groupRecords.decode({ key, value }), record);
  }
});

test("a group that a newer Kafka wrote in version 4 is read", () => {
  const key = Buffer.concat([Buffer.from([0, 2, 0, 1]), Buffer.from("g")]);
  // Version, protocol type, generation, no protocol, no leader, no time, no members, no tags.
  const hex = "000409636f6e73756d6572000000020000ffffffffffffffff0100";
  assert.deepEqual(groupRecords.decode({ key, value: Buffer.from(hex, "hex") }), {
    kind: "classic",
    key: { group: "g" },
    value: {
      protocolType: "consumer",
      generation: 2,
      protocol: null,
      leader: null,
      currentStateTimestamp: -1,
      members: [],
    },
  });
});
