/** Raises or lowers the levels of features that the whole cluster agrees on (KIP-584, KIP-778). */
import {
  array,
  bool,
  branded,
  type Decoded,
  from,
  ignorable,
  int8,
  int16,
  int32,
  nullable,
  orElse,
  string,
  struct,
  until,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const UpdateFeatures = api({
  key: 57,
  name: "UpdateFeatures",
  versions: [0, 2],
  flexibleFrom: 0,
  request: struct({
    timeoutMs: orElse(60_000, int32),
    featureUpdates: array(
      struct({
        feature: string,
        /** Below 1: the feature is not to be used any more. */
        maxVersionLevel: int16,
        allowDowngrade: until(0, bool),
        upgradeType: from(1, orElse(1, int8)),
      }),
    ),
    validateOnly: from(1, bool),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    errorMessage: nullable(string),
    results: ignorable(
      until(
        1,
        array(
          struct({ feature: string, errorCode: branded<ErrorCode>(int16), errorMessage: nullable(string) }),
        ),
      ),
    ),
  }),
});
export interface UpdateFeaturesRequest extends Decoded<typeof UpdateFeatures.request> {}
export interface UpdateFeaturesResponse extends Decoded<typeof UpdateFeatures.response> {}

export const UpgradeType = { upgrade: 1, safeDowngrade: 2, unsafeDowngrade: 3 } as const;
