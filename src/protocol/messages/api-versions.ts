/** What a broker speaks, asked first on every connection; also features (KIP-584) and mistaken addresses (KIP-1242). */
import {
  array,
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
  tagged,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { unknownNode } from "../fields.ts";

export const ApiVersions = api({
  key: 18,
  name: "ApiVersions",
  versions: [0, 5],
  flexibleFrom: 3,
  request: struct({
    clientSoftwareName: ignorable(from(3, string)),
    clientSoftwareVersion: ignorable(from(3, string)),
    /** Whom the client believes to be talking to. */
    clusterId: ignorable(from(5, orElse(null, nullable(string)))),
    nodeId: ignorable(from(5, unknownNode)),
  }),
  response: struct({
    errorCode: branded<ErrorCode>(int16),
    apiKeys: array(struct({ apiKey: int16, minVersion: int16, maxVersion: int16 })),
    throttleTimeMs: from(1, int32),
    supportedFeatures: tagged(
      0,
      3,
      array(
        struct({
          name: from(3, string),
          minVersion: from(3, int16),
          maxVersion: from(3, int16),
        }),
      ),
    ),
    /** −1: not known. */
    finalizedFeaturesEpoch: tagged(1, 3, orElse(-1, int64)),
    finalizedFeatures: tagged(
      2,
      3,
      array(
        struct({
          name: from(3, string),
          maxVersionLevel: from(3, int16),
          minVersionLevel: from(3, int16),
        }),
      ),
    ),
    zkMigrationReady: tagged(3, 3, bool),
  }),
});
export interface ApiVersionsRequest extends Decoded<typeof ApiVersions.request> {}
export interface ApiVersionsResponse extends Decoded<typeof ApiVersions.response> {}
