/**
 * GetTelemetrySubscriptions: nobody here wants clients' metrics (KIP-714), so none are asked for. As Kafka
 * without a receiver for them, the broker does not tell in ApiVersions that it answers this.
 */
import { NO_TOPIC_ID } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { GetTelemetrySubscriptions } from "../../protocol/messages/get-telemetry-subscriptions.ts";
import { Codec } from "../../record/batch.ts";
import { handle } from "../handle.ts";
import { randomShortUuid } from "../random-uuid.ts";

/** The set of metrics that is asked for of every client: the empty one. */
export const emptySubscription = 0;
/** How long a client waits before it asks again; Kafka's default. */
const pushIntervalMs = 300_000;
/** Bytes of one push; Kafka's default of `telemetry.max.bytes`. */
export const telemetryBytesMax = 1_048_576;

export const getTelemetrySubscriptions = handle(GetTelemetrySubscriptions, {
  decide({ clientInstanceId }, { services }) {
    const isNew = clientInstanceId === NO_TOPIC_ID;
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      clientInstanceId: isNew ? randomShortUuid(services.env.random) : clientInstanceId,
      subscriptionId: emptySubscription,
      acceptedCompressionTypes: [Codec.zstd, Codec.lz4, Codec.gzip, Codec.snappy],
      pushIntervalMs,
      telemetryMaxBytes: telemetryBytesMax,
      deltaTemporality: true,
      requestedMetrics: [],
    };
  },
});
