/** Configurations of topics and brokers for an admin: what holds, where it comes from, and changes to single keys. */
import type { NodeId } from "../base/ids.ts";
import { nodeId } from "../base/ids.ts";
import type { Api } from "../protocol/api.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { ConfigResource, ConfigType, DescribeConfigs } from "../protocol/messages/describe-configs.ts";
import { ConfigOperation, IncrementalAlterConfigs } from "../protocol/messages/incremental-alter-configs.ts";
import { refuseFailures } from "./admin-outcome.ts";
import type { AdminAccess, ChangeOptions } from "./admin-topics.ts";
import { BrokerRefusedError } from "./errors.ts";

/** What has a configuration. */
export type ConfigOwner =
  | { readonly topic: string }
  | { readonly broker: number }
  | { readonly group: string };

export interface ConfigEntry {
  readonly name: string;
  /** Null where it is secret, or not set. */
  readonly value: string | null;
  /** "topic", "broker", "default", …: where the value comes from; "unknown": the broker does not say. */
  readonly source: ConfigSource;
  readonly isDefault: boolean;
  readonly isReadOnly: boolean;
  readonly isSensitive: boolean;
  readonly type: keyof typeof ConfigType;
  readonly documentation: string | null;
  /** The values that would hold in its place, in order; empty unless asked for. */
  readonly synonyms: readonly {
    readonly name: string;
    readonly value: string | null;
    readonly source: ConfigSource;
  }[];
}

export interface ConfigDescription {
  readonly owner: ConfigOwner;
  readonly entries: readonly ConfigEntry[];
}

/** Kafka's numbers (KIP-226, KIP-1142 and others) as words. */
const sources = {
  1: "topic",
  2: "dynamic-broker",
  3: "dynamic-default-broker",
  4: "broker",
  5: "default",
  6: "dynamic-broker-logger",
  7: "client-metrics",
  8: "group",
} as const;
export type ConfigSource = (typeof sources)[keyof typeof sources] | "unknown";

export interface DescribeConfigsOptions {
  /** Default: all. */
  readonly keys?: readonly string[] | undefined;
  readonly synonyms?: boolean | undefined;
  readonly documentation?: boolean | undefined;
}

/** Changes to single keys; those that are not named stay as they are. */
export type ConfigChange = ConfigOwner & {
  readonly set?: { readonly [name: string]: string } | undefined;
  /** Keys that go back to their defaults. */
  readonly remove?: readonly string[] | undefined;
  /** To keys that are lists. */
  readonly append?: { readonly [name: string]: string } | undefined;
  readonly subtract?: { readonly [name: string]: string } | undefined;
};

export async function describeConfigs(
  access: AdminAccess,
  owners: readonly ConfigOwner[],
  options: DescribeConfigsOptions = {},
): Promise<readonly ConfigDescription[]> {
  const { keys, synonyms = false, documentation = false } = options;
  const answers = await byBroker(access, DescribeConfigs, owners, "question", (asked) => ({
    resources: asked.map((owner) => ({ ...resourceOf(owner), configurationKeys: keys ?? null })),
    includeSynonyms: synonyms,
    includeDocumentation: documentation,
  }));
  const results = answers.flatMap(({ results: each }) => each);
  refuseFailures(
    "Describing the configuration of",
    results.map((result) => ({ ...result, name: result.resourceName })),
  );
  return results.map(({ resourceType, resourceName, configs }) => ({
    owner: ownerOf(resourceType, resourceName),
    entries: configs.map((config) => ({
      name: config.name,
      value: config.value,
      source: sourceOf(config.configSource),
      isDefault: sourceOf(config.configSource) === "default",
      isReadOnly: config.readOnly,
      isSensitive: config.isSensitive,
      type: typeOf(config.configType),
      documentation: config.documentation,
      synonyms: config.synonyms.map(({ name, value, source }) => ({ name, value, source: sourceOf(source) })),
    })),
  }));
}

export async function alterConfigs(
  access: AdminAccess,
  changes: readonly ConfigChange[],
  options: Pick<ChangeOptions, "validateOnly"> = {},
): Promise<void> {
  const { validateOnly = false } = options;
  const answers = await byBroker(access, IncrementalAlterConfigs, changes, "change", (asked) => ({
    resources: asked.map((change) => ({ ...resourceOf(change), configs: operationsOf(change) })),
    validateOnly,
  }));
  const results = answers.flatMap(({ responses }) => responses);
  refuseFailures(
    "Changing the configuration of",
    results.map((result) => ({ ...result, name: result.resourceName })),
  );
}

function operationsOf(
  change: ConfigChange,
): { readonly name: string; readonly configOperation: number; readonly value: string | null }[] {
  const valued = (operation: number, entries: { readonly [name: string]: string } = {}) =>
    Object.entries(entries).map(([name, value]) => ({ name, configOperation: operation, value }));
  return [
    ...valued(ConfigOperation.set, change.set),
    ...valued(ConfigOperation.append, change.append),
    ...valued(ConfigOperation.subtract, change.subtract),
    ...(change.remove ?? []).map((name) => ({ name, configOperation: ConfigOperation.delete, value: null })),
  ];
}

function resourceOf(owner: ConfigOwner): { readonly resourceType: number; readonly resourceName: string } {
  if ("topic" in owner) return { resourceType: ConfigResource.topic, resourceName: owner.topic };
  if ("group" in owner) return { resourceType: ConfigResource.group, resourceName: owner.group };
  return { resourceType: ConfigResource.broker, resourceName: String(owner.broker) };
}

function ownerOf(resourceType: number, name: string): ConfigOwner {
  if (resourceType === ConfigResource.topic) return { topic: name };
  return resourceType === ConfigResource.group ? { group: name } : { broker: Number(name) };
}

/** A broker's own configuration is known to that broker only; everything else to any. */
async function byBroker<Owner extends ConfigOwner, Req, Res>(
  { cluster, links }: AdminAccess,
  api: Api<Req, Res>,
  owners: readonly Owner[],
  kind: "question" | "change",
  requestFor: (owners: readonly Owner[]) => Req,
): Promise<readonly Res[]> {
  const groups = new Map<NodeId | "any", Owner[]>();
  for (const owner of owners) {
    const where = "broker" in owner ? nodeId(owner.broker) : "any";
    const together = groups.get(where);
    if (together === undefined) groups.set(where, [owner]);
    else together.push(owner);
  }
  if ([...groups.keys()].some((where) => where !== "any") && cluster.brokers.length === 0) {
    await cluster.listTopics();
  }
  return Promise.all(
    [...groups].map(async ([where, group]) => {
      if (where === "any") return cluster.ask(api, requestFor(group), { repeatable: kind === "question" });
      const broker = cluster.broker(where);
      if (broker === undefined) {
        throw new BrokerRefusedError(
          `Asking broker ${where}`,
          ErrorCode.BROKER_NOT_AVAILABLE,
          `There is no broker ${where}; the brokers are ${cluster.brokers.map((each) => each.nodeId).join(", ")}`,
        );
      }
      return (await links.to(broker)).call(api, requestFor(group));
    }),
  );
}

function sourceOf(number: number): ConfigSource {
  return (sources as { readonly [number: number]: ConfigSource })[number] ?? "unknown";
}

function typeOf(number: number): keyof typeof ConfigType {
  const found = Object.entries(ConfigType).find(([, value]) => value === number);
  return (found?.[0] ?? "unknown") as keyof typeof ConfigType;
}
