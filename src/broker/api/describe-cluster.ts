/** DescribeCluster: id and brokers. There are no controllers: every broker can do what Kafka asks one for. */
import { ErrorCode } from "../../protocol/errors.ts";
import { OPERATIONS_NOT_ASKED } from "../../protocol/fields.ts";
import { DescribeCluster } from "../../protocol/messages/describe-cluster.ts";
import {
  type BrokerAddress,
  brokerAddresses,
  clusterOperations,
  controllerOf,
  fencedAddresses,
} from "../cluster-view.ts";
import { handle } from "../handle.ts";
import { accepted, type Refusal, refusal } from "../refusal.ts";

const brokerEndpoint = 1;
const controllerEndpoint = 2;

export const describeCluster = handle(DescribeCluster, {
  decide(request, context) {
    const { services } = context;
    const outcome = checkEndpoint(request.endpointType);
    const isRefused = outcome.errorCode !== ErrorCode.NONE;
    const fenced = request.includeFencedBrokers ? fencedAddresses(context) : [];
    return {
      throttleTimeMs: 0,
      ...outcome,
      endpointType: brokerEndpoint,
      clusterId: services.journal.state.clusterId,
      controllerId: controllerOf(context),
      brokers: isRefused
        ? []
        : [...brokerAddresses(context).map(toBroker(false)), ...fenced.map(toBroker(true))],
      clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
        ? clusterOperations
        : OPERATIONS_NOT_ASKED,
    };
  },
});

const toBroker =
  (isFenced: boolean) =>
  ({ nodeId, host, port, rack }: BrokerAddress) => ({ brokerId: nodeId, host, port, rack, isFenced });

function checkEndpoint(endpointType: number): Refusal {
  if (endpointType === brokerEndpoint) return accepted;
  if (endpointType === controllerEndpoint) {
    return refusal(
      ErrorCode.MISMATCHED_ENDPOINT_TYPE,
      "This endpoint is a broker, and a controller was asked for.",
    );
  }
  return refusal(ErrorCode.UNSUPPORTED_ENDPOINT_TYPE);
}
