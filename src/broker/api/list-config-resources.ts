/** ListConfigResources: of what DescribeConfigs can tell something. Groups, loggers and client metrics have no configuration here. */
import { ErrorCode } from "../../protocol/errors.ts";
import { ConfigResource } from "../../protocol/messages/describe-configs.ts";
import { ListConfigResources } from "../../protocol/messages/list-config-resources.ts";
import { brokerAddresses } from "../cluster-view.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";

/** Before, the API was asked for client metrics only. */
const typesVersionMin = 1;
const types: readonly number[] = Object.values(ConfigResource);

export const listConfigResources = handle(ListConfigResources, {
  decide({ resourceTypes }, context) {
    if (!resourceTypes.every((type) => types.includes(type))) {
      return { throttleTimeMs: 0, errorCode: ErrorCode.UNSUPPORTED_VERSION, configResources: [] };
    }
    const wanted = context.apiVersion < typesVersionMin ? [ConfigResource.clientMetrics] : resourceTypes;
    const isWanted = (type: number) => wanted.length === 0 || wanted.includes(type);
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      configResources: [ConfigResource.broker, ConfigResource.topic].flatMap((resourceType) =>
        isWanted(resourceType)
          ? namesOf(resourceType, context).map((resourceName) => ({ resourceName, resourceType }))
          : [],
      ),
    };
  },
});

function namesOf(
  type: typeof ConfigResource.broker | typeof ConfigResource.topic,
  context: RequestContext,
): readonly string[] {
  return type === ConfigResource.broker
    ? brokerAddresses(context).map(({ nodeId }) => `${nodeId}`)
    : Array.from(context.services.topics.all(), ({ name }) => name);
}
