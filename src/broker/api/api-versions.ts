/** ApiVersions: what this broker speaks, which is what it has handlers for and nothing else. */
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ApiVersions,
  type ApiVersionsRequest,
  type ApiVersionsResponse,
} from "../../protocol/messages/api-versions.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import type { RequestContext, Services } from "../context.ts";
import { handle } from "../handle.ts";

/** Names came with version 3 (KIP-511), the check of the address with version 5 (KIP-1242). */
const softwareVersionMin = 3;
const addressVersionMin = 5;
/** Each connection keeps both names for its life, so they have a length. */
const softwareName = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]{0,253}[a-zA-Z0-9])?$/;

export const apiVersions = handle(ApiVersions, {
  decide(request, context) {
    const { services, connection, apiVersion } = context;
    if (apiVersion >= softwareVersionMin) {
      const { clientSoftwareName: name, clientSoftwareVersion: version } = request;
      if (!softwareName.test(name) || !softwareName.test(version)) {
        return apiVersionsResponse(services, ErrorCode.INVALID_REQUEST);
      }
      connection.clientSoftware = { name, version };
    }
    if (apiVersion >= addressVersionMin && isElsewhere(request, context)) {
      return apiVersionsResponse(services, ErrorCode.REBOOTSTRAP_REQUIRED);
    }
    return apiVersionsResponse(services, ErrorCode.NONE);
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

/** Also sent, in version 0, to who asks in a version that is not spoken: the list tells it which to use. */
export function apiVersionsResponse(services: Services, errorCode: ErrorCode): ApiVersionsResponse {
  const apiKeys = services.handlers.map(({ api }) => ({
    apiKey: api.key,
    // librdkafka takes compression and much else for missing unless Produce begins at 0 (KAFKA-18659).
    minVersion: api.key === Produce.key ? 0 : api.versions[0],
    maxVersion: api.versions[1],
  }));
  return {
    errorCode,
    apiKeys: apiKeys.sort((a, b) => a.apiKey - b.apiKey),
    throttleTimeMs: 0,
    supportedFeatures: [],
    finalizedFeaturesEpoch: -1,
    finalizedFeatures: [],
    zkMigrationReady: false,
  };
}
