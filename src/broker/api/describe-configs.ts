/** DescribeConfigs: the configuration of topics, of this broker and of groups, with sources. */
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ConfigResource,
  DescribeConfigs,
  type DescribeConfigsRequest,
  type DescribeConfigsResponse,
} from "../../protocol/messages/describe-configs.ts";
import {
  brokerEntries,
  clusterEntries,
  type ConfigEntry,
  groupEntries,
  topicEntries,
} from "../config-view.ts";
import type { Services } from "../context.ts";
import { ownGroupConfigs } from "../group-config.ts";
import { handle } from "../handle.ts";
import { accepted, type Refusal, refusal } from "../refusal.ts";
import { refuseTopicName } from "../topics.ts";

type Resource = DescribeConfigsRequest["resources"][number];
type Result = DescribeConfigsResponse["results"][number];

/** So many resources are told in one answer. */
const resourcesMax = 20_000;
const tooMany = refusal(
  ErrorCode.POLICY_VIOLATION,
  `One request is told at most ${resourcesMax} resources; ask for the others in another.`,
);

export const describeConfigs = handle(DescribeConfigs, {
  decide(request, { services }) {
    // Each once, however often it is named: an answer is a hundred times as large as its question.
    const once = new Map(request.resources.map((resource) => [keyOf(resource), resource])).values();
    const results = Array.from(once, (resource, at): Result => {
      const { resourceType, resourceName } = resource;
      const found = at < resourcesMax ? entriesOf(resource, services) : tooMany;
      if ("errorCode" in found) return { ...found, resourceType, resourceName, configs: [] };
      const wanted = resource.configurationKeys === null ? null : new Set(resource.configurationKeys);
      const configs = found
        .filter(({ name }) => wanted === null || wanted.has(name))
        .map((entry) => ({
          ...entry,
          synonyms: request.includeSynonyms ? entry.synonyms : [],
          documentation: request.includeDocumentation ? entry.documentation : null,
        }));
      return { ...accepted, resourceType, resourceName, configs };
    });
    return { throttleTimeMs: 0, results };
  },
});

const keyOf = ({ resourceType, resourceName }: Resource): string => `${resourceType} ${resourceName}`;

function entriesOf(
  { resourceType, resourceName }: Resource,
  services: Services,
): readonly ConfigEntry[] | Refusal {
  const { topics, config, journal, nodeId } = services;
  switch (resourceType) {
    case ConfigResource.topic: {
      const wrong = refuseTopicName(resourceName);
      if (wrong !== null)
        return refusal(ErrorCode.INVALID_TOPIC_EXCEPTION, `Topic name is invalid: ${wrong}`);
      const topic = topics.byName(resourceName);
      if (topic === undefined) return refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
      return topicEntries(topic.configs, config);
    }
    case ConfigResource.broker:
      if (resourceName === "") return clusterEntries(journal.state.brokerConfigs.get("") ?? new Map());
      if (resourceName !== String(nodeId)) {
        return refusal(
          ErrorCode.INVALID_REQUEST,
          `This is broker ${nodeId}: it can tell its own configuration or the one of all brokers (""), not that of "${resourceName}".`,
        );
      }
      return brokerEntries(config);
    case ConfigResource.group:
      return groupEntries(ownGroupConfigs(resourceName, journal.state), config);
    default:
      return refusal(
        ErrorCode.INVALID_REQUEST,
        `Resources of type ${resourceType} have no configuration here.`,
      );
  }
}
