/**
 * What must not compile. The compiler itself is the test: a line below `@ts-expect-error` that would
 * compile is an error of `tsc`.
 */
import {
  type LeaderEpoch,
  leaderEpoch,
  NO_TOPIC_ID,
  type Offset,
  offset,
  partitionIndex,
} from "../../src/base/ids.ts";
import { ErrorCode } from "../../src/protocol/errors.ts";
import { encodeResponse } from "../../src/protocol/frame.ts";
import { Metadata } from "../../src/protocol/messages/metadata.ts";
import { OffsetForLeaderEpoch } from "../../src/protocol/messages/offset-for-leader-epoch.ts";
import type { ProduceRequest, ProduceResponse } from "../../src/protocol/messages/produce.ts";
import {
  array,
  branded,
  type Decoded,
  int32,
  int64,
  nullable,
  orElse,
  string,
  struct,
} from "../../src/schema/types.ts";

type PartitionResponse = ProduceResponse["responses"][number]["partitionResponses"][number];

export const good: PartitionResponse = {
  index: partitionIndex(0),
  errorCode: ErrorCode.NONE,
  baseOffset: offset(0),
  logAppendTimeMs: -1,
  logStartOffset: offset(0),
  recordErrors: [],
  errorMessage: null,
  currentLeader: { leaderId: -1 as never, leaderEpoch: leaderEpoch(-1) },
};

// @ts-expect-error: a plain number is no offset.
export const plainNumber: PartitionResponse = { ...good, baseOffset: 7 };
// @ts-expect-error: an epoch is no offset.
export const wrongBrand: PartitionResponse = { ...good, baseOffset: leaderEpoch(7) };
// @ts-expect-error: 4,000 is no error code.
export const unknownError: PartitionResponse = { ...good, errorCode: 4_000 };
// @ts-expect-error: null is allowed for few fields only.
export const nullArray: PartitionResponse = { ...good, recordErrors: null };
// @ts-expect-error: the answer to an epoch has an end offset too.
export const missing: Decoded<typeof OffsetForLeaderEpoch.response>["topics"][number]["partitions"][number] =
  {
    errorCode: ErrorCode.NONE,
    partition: partitionIndex(0),
    leaderEpoch: leaderEpoch(0),
  };
// @ts-expect-error: a response of one API is not sent for another.
encodeResponse(Metadata, 1, 1, { throttleTimeMs: 0, topics: [] });

export function readOnly(request: ProduceRequest): unknown {
  // @ts-expect-error: what was decoded is not written into.
  request.acks = 0;
  // @ts-expect-error: neither are its arrays.
  request.topicData.push({ name: "t", topicId: NO_TOPIC_ID, partitionData: [] });
  // @ts-expect-error: records may be null.
  return request.topicData[0]?.partitionData[0]?.records.length;
}

const Sample = struct({
  offset: branded<Offset>(int64),
  epochs: array(branded<LeaderEpoch>(int32)),
  name: orElse(null, nullable(string)),
});
export const sample: Decoded<typeof Sample> = { offset: offset(1), epochs: [leaderEpoch(2)], name: null };
// @ts-expect-error: brands survive in arrays.
export const sampleOfNumbers: Decoded<typeof Sample> = { ...sample, epochs: [2] };
// @ts-expect-error: a field that the schema lacks.
export const sampleWithMore: Decoded<typeof Sample> = { ...sample, more: 1 };
