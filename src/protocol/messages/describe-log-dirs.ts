/** Where partitions lie and how much room they take (KIP-113, KIP-827). */
import type { PartitionIndex } from "../../base/ids.ts";
import {
  array,
  bool,
  branded,
  type Decoded,
  from,
  int16,
  int32,
  int64,
  nullable,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const DescribeLogDirs = api({
  key: 35,
  name: "DescribeLogDirs",
  versions: [1, 5],
  flexibleFrom: 2,
  request: struct({
    /** Null: all. */
    topics: nullable(array(struct({ topic: string, partitions: array(branded<PartitionIndex>(int32)) }))),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: from(3, branded<ErrorCode>(int16)),
    results: array(
      struct({
        errorCode: branded<ErrorCode>(int16),
        logDir: string,
        topics: array(
          struct({
            name: string,
            partitions: array(
              struct({
                partitionIndex: branded<PartitionIndex>(int32),
                partitionSize: int64,
                offsetLag: int64,
                isFutureKey: bool,
              }),
            ),
          }),
        ),
        totalBytes: from(4, orElse(-1, int64)),
        usableBytes: from(4, orElse(-1, int64)),
        isCordoned: from(5, bool),
      }),
    ),
  }),
});
export interface DescribeLogDirsRequest extends Decoded<typeof DescribeLogDirs.request> {}
export interface DescribeLogDirsResponse extends Decoded<typeof DescribeLogDirs.response> {}
