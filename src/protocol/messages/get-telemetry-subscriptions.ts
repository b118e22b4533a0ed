/** Which of its metrics a client is asked to push, and how (KIP-714). */
import {
  array,
  bool,
  branded,
  type Decoded,
  int8,
  int16,
  int32,
  string,
  struct,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const GetTelemetrySubscriptions = api({
  key: 71,
  name: "GetTelemetrySubscriptions",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    /** All zero: the client has none yet and is given one. */
    clientInstanceId: uuid,
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    clientInstanceId: uuid,
    subscriptionId: int32,
    /** In the order of preference, as record batches number them. */
    acceptedCompressionTypes: array(int8),
    pushIntervalMs: int32,
    telemetryMaxBytes: int32,
    deltaTemporality: bool,
    /** Prefixes of names. Empty: nothing is asked for; one empty prefix: everything. */
    requestedMetrics: array(string),
  }),
});
export interface GetTelemetrySubscriptionsRequest extends Decoded<typeof GetTelemetrySubscriptions.request> {}
export interface GetTelemetrySubscriptionsResponse
  extends Decoded<typeof GetTelemetrySubscriptions.response> {}
