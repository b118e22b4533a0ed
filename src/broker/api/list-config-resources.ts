/** ListConfigResources: topics, brokers, and groups for which something is set. Loggers and client metrics have no configuration here. */
import { unreachable } from "../../base/assert.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { ConfigResource } from "../../protocol/messages/describe-configs.ts";
import { ListConfigResources } from "../../protocol/messages/list-config-resources.ts";
import { brokerAddresses } from "../cluster-view.ts";
import type { RequestContext } from "../context.ts";
import { configuredGroups } from "../group-config.ts";
import { handle } from "../handle.ts";

/** Before, the API was asked for client metrics only. */
const typesVersionMin = 1;
const types: readonly number[] = Object.values(ConfigResource);
const listed = [ConfigResource.group, ConfigResource.broker, ConfigResource.topic] as const;

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
      configResources: listed.flatMap((resourceType) =>
        isWanted(resourceType)
          ? namesOf(resourceType, context).map((resourceName) => ({ resourceName, resourceType }))
          : [],
      ),
    };
  },
});

function namesOf(type: (typeof listed)[number], context: RequestContext): readonly string[] {
  const { topics, journal } = context.services;
  switch (type) {
    case ConfigResource.group:
      return configuredGroups(journal.state);
    case ConfigResource.broker:
      return brokerAddresses(context).map(({ nodeId }) => `${nodeId}`);
    case ConfigResource.topic:
      return Array.from(topics.all(), ({ name }) => name);
    default:
      return unreachable(type);
  }
}
