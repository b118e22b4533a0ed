/** Topics that a test makes, by the handler that clients ask, so that names and settings are judged in the same way. */
import { RefusedError } from "../base/errors.ts";
import type { ConnectionFacts, Services } from "../broker/context.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { CreateTopics, type CreateTopicsResponse } from "../protocol/messages/create-topics.ts";
import { host } from "./settings.ts";

export interface TopicOptions {
  readonly partitions?: number;
  /** As in CreateTopics: `{ "retention.ms": "60000" }`. */
  readonly configs?: { readonly [key: string]: string };
}

/** A name, or a name with what the topic is to be. */
export type TopicToMake = string | ({ readonly name: string } & TopicOptions);

const createTimeoutMs = 10_000;

/** Rejects with `RefusedError`: the name is taken or wrong, or a setting is. */
export async function createTopic(services: Services, name: string, options: TopicOptions): Promise<void> {
  const response = await askToCreate(services, name, options);
  const result = response.topics[0];
  if (result === undefined || result.errorCode === ErrorCode.NONE) return;
  const { name: code, text } = errorFacts(result.errorCode);
  throw new RefusedError(`The topic ${name} was not created: ${code}. ${result.errorMessage ?? text}`);
}

async function askToCreate(
  services: Services,
  name: string,
  { partitions = 1, configs = {} }: TopicOptions,
): Promise<CreateTopicsResponse> {
  const handler = services.handlers.find(({ api }) => api.key === CreateTopics.key);
  const request = {
    topics: [
      {
        name,
        numPartitions: partitions,
        replicationFactor: -1,
        assignments: [],
        configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
      },
    ],
    timeoutMs: createTimeoutMs,
    validateOnly: false,
  };
  return (await handler?.decide(request, {
    apiVersion: CreateTopics.versions[1],
    correlationId: 0,
    clientId: "holdfast/testing",
    connection: nobody,
    services,
  })) as CreateTopicsResponse;
}

/** Who asks when the test itself does. */
const nobody: ConnectionFacts = {
  principal: "User:ANONYMOUS",
  peer: null,
  listenerName: "PLAINTEXT",
  remoteHost: host,
  localHost: host,
  localPort: 0,
  clientSoftware: { name: "holdfast/testing", version: "" },
  onClose: () => () => undefined,
  close: () => undefined,
};
