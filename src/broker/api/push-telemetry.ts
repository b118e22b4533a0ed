/** PushTelemetry: what is sent although nothing was asked for is checked as Kafka does (KIP-714), and dropped. */
import { NO_TOPIC_ID } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { PushTelemetry, type PushTelemetryRequest } from "../../protocol/messages/push-telemetry.ts";
import { Codec } from "../../record/batch.ts";
import { handle } from "../handle.ts";
import { emptySubscription, telemetryBytesMax } from "./get-telemetry-subscriptions.ts";

export const pushTelemetry = handle(PushTelemetry, {
  decide: (request) => ({ throttleTimeMs: 0, errorCode: judge(request) }),
});

function judge(request: PushTelemetryRequest): ErrorCode {
  if (request.clientInstanceId === NO_TOPIC_ID) return ErrorCode.INVALID_REQUEST;
  if (request.subscriptionId !== emptySubscription) return ErrorCode.UNKNOWN_SUBSCRIPTION_ID;
  const codecs: readonly number[] = Object.values(Codec);
  if (!codecs.includes(request.compressionType)) return ErrorCode.UNSUPPORTED_COMPRESSION_TYPE;
  return request.metrics.byteLength > telemetryBytesMax ? ErrorCode.TELEMETRY_TOO_LARGE : ErrorCode.NONE;
}
