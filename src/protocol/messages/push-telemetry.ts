/** Metrics of a client in the format of OpenTelemetry, as it was asked for (KIP-714). */
import { bool, branded, bytes, type Decoded, int8, int16, int32, struct, uuid } from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const PushTelemetry = api({
  key: 72,
  name: "PushTelemetry",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    clientInstanceId: uuid,
    subscriptionId: int32,
    /** This is the last of it. */
    terminating: bool,
    compressionType: int8,
    metrics: bytes,
  }),
  response: struct({ throttleTimeMs: int32, errorCode: branded<ErrorCode>(int16) }),
});
export interface PushTelemetryRequest extends Decoded<typeof PushTelemetry.request> {}
export interface PushTelemetryResponse extends Decoded<typeof PushTelemetry.response> {}
