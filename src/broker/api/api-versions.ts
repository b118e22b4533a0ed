/** ApiVersions: what this broker speaks, which is what it has handlers for and nothing else, and the levels of its features. */
import type { AnyApi } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ApiVersions,
  type ApiVersionsRequest,
  type ApiVersionsResponse,
} from "../../protocol/messages/api-versions.ts";
import { GetTelemetrySubscriptions } from "../../protocol/messages/get-telemetry-subscriptions.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { PushTelemetry } from "../../protocol/messages/push-telemetry.ts";
import { peerKeysFrom } from "../../protocol/registry.ts";
import type { RequestContext, Services } from "../context.ts";
import { type FeatureName, featureNames, levelMax, levelMin, levelOf } from "../features.ts";
import { handle } from "../handle.ts";

/** Names came with version 3 (KIP-511), the check of the address with version 5 (KIP-1242). */
const softwareVersionMin = 3;
const addressVersionMin = 5;
/** Before, clients take it for an error that a feature can be off. */
const levelZeroVersionMin = 4;
/** Each connection keeps both names for its life, so they have a length. */
const softwareName = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]{0,253}[a-zA-Z0-9])?$/;

export const apiVersions = handle(ApiVersions, {
  decide(request, context) {
    const { services, connection, apiVersion } = context;
    if (apiVersion >= softwareVersionMin) {
      const { clientSoftwareName: name, clientSoftwareVersion: version } = request;
      if (!softwareName.test(name) || !softwareName.test(version)) {
        return apiVersionsResponse(services, apiVersion, ErrorCode.INVALID_REQUEST);
      }
      connection.clientSoftware = { name, version };
    }
    if (apiVersion >= addressVersionMin && isElsewhere(request, context)) {
      return apiVersionsResponse(services, apiVersion, ErrorCode.REBOOTSTRAP_REQUIRED);
    }
    return apiVersionsResponse(services, apiVersion, ErrorCode.NONE);
  },
});

/** The client means another cluster or broker: an address changed hands. Bootstrap addresses have negative ids in clients. */
function isElsewhere(request: ApiVersionsRequest, { services }: RequestContext): boolean {
  const { clusterId, nodeId } = request;
  return (
    (clusterId !== null && clusterId !== services.journal.state.clusterId) ||
    (nodeId >= 0 && nodeId !== services.nodeId)
  );
}

/** Answered, and not told of: whoever knew would ask, to hear that nobody wants its metrics. Kafka without a receiver does the same. */
const untold: readonly AnyApi[] = [GetTelemetrySubscriptions as AnyApi, PushTelemetry as AnyApi];
/** Of what brokers say to each other no client hears. */
export const isTold = (api: AnyApi): boolean => api.key < peerKeysFrom && !untold.includes(api);

/** Also sent, in version 0, to who asks in a version that is not spoken: the list tells it which to use. */
export function apiVersionsResponse(
  services: Services,
  apiVersion: number,
  errorCode: ErrorCode,
): ApiVersionsResponse {
  const { handlers, journal } = services;
  const told = handlers.filter(({ api }) => isTold(api));
  const apiKeys = told.map(({ api }) => ({
    apiKey: api.key,
    // librdkafka takes compression and much else for missing unless Produce begins at 0 (KAFKA-18659).
    minVersion: api.key === Produce.key ? 0 : api.versions[0],
    maxVersion: api.versions[1],
  }));
  const names = featureNames(handlers);
  return {
    errorCode,
    apiKeys: apiKeys.sort((a, b) => a.apiKey - b.apiKey),
    throttleTimeMs: 0,
    supportedFeatures: apiVersion < levelZeroVersionMin ? [] : names.map(supported),
    // Rises with every change of a level, and now and then without one, as Kafka's.
    finalizedFeaturesEpoch: journal.state.nextSlot,
    finalizedFeatures: names.flatMap((name) => {
      const level = levelOf(name, journal.state);
      return level === 0 ? [] : [{ name, maxVersionLevel: level, minVersionLevel: level }];
    }),
    zkMigrationReady: false,
  };
}

const supported = (name: FeatureName) => ({
  name,
  minVersion: levelMin(name),
  maxVersion: levelMax(name),
});
