/** How far consumer groups have got, from version 8 on several groups at once; from version 10 on topics are named by id. */
import type { Offset, PartitionIndex } from "../../base/ids.ts";
import {
  array,
  between,
  bool,
  branded,
  type Decoded,
  from,
  ignorable,
  int16,
  int32,
  int64,
  nullable,
  orElse,
  string,
  struct,
  until,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { unknownLeaderEpoch } from "../fields.ts";

export const OffsetFetch = api({
  key: 9,
  name: "OffsetFetch",
  versions: [1, 10],
  flexibleFrom: 6,
  request: struct({
    groupId: until(7, string),
    topics: until(
      7,
      nullable(
        array(
          struct({
            name: string,
            partitionIndexes: array(branded<PartitionIndex>(int32)),
          }),
        ),
        2,
      ),
    ),
    groups: from(
      8,
      array(
        struct({
          groupId: string,
          memberId: ignorable(from(9, orElse(null, nullable(string)))),
          memberEpoch: ignorable(from(9, orElse(-1, int32))),
          topics: nullable(
            array(
              struct({
                name: ignorable(until(9, string)),
                topicId: ignorable(from(10, uuid)),
                partitionIndexes: array(branded<PartitionIndex>(int32)),
              }),
            ),
          ),
        }),
      ),
    ),
    requireStable: from(7, bool),
  }),
  response: struct({
    throttleTimeMs: ignorable(from(3, int32)),
    topics: until(
      7,
      array(
        struct({
          name: string,
          partitions: array(
            struct({
              partitionIndex: branded<PartitionIndex>(int32),
              committedOffset: branded<Offset>(int64),
              committedLeaderEpoch: ignorable(from(5, unknownLeaderEpoch)),
              metadata: nullable(string),
              errorCode: branded<ErrorCode>(int16),
            }),
          ),
        }),
      ),
    ),
    errorCode: ignorable(between(2, 7, branded<ErrorCode>(int16))),
    groups: from(
      8,
      array(
        struct({
          groupId: string,
          topics: array(
            struct({
              name: ignorable(until(9, string)),
              topicId: ignorable(from(10, uuid)),
              partitions: array(
                struct({
                  partitionIndex: branded<PartitionIndex>(int32),
                  committedOffset: branded<Offset>(int64),
                  committedLeaderEpoch: unknownLeaderEpoch,
                  metadata: nullable(string),
                  errorCode: branded<ErrorCode>(int16),
                }),
              ),
            }),
          ),
          errorCode: branded<ErrorCode>(int16),
        }),
      ),
    ),
  }),
});
export interface OffsetFetchRequest extends Decoded<typeof OffsetFetch.request> {}
export interface OffsetFetchResponse extends Decoded<typeof OffsetFetch.response> {}
