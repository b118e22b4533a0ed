/**
 * Changes of configurations, one way for both APIs that make them: what a change would lead to is checked
 * as a whole before the journal is told, so that what is read back always has a meaning.
 */
import { whenToldToAll } from "./cluster/cluster.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { ConfigResource } from "../protocol/messages/describe-configs.ts";
import { ConfigOperation } from "../protocol/messages/incremental-alter-configs.ts";
import { type BrokerConfig, brokerSettings, isBrokerSetting, refuseBrokerSetting } from "./config.ts";
import { isListKey } from "./config-view.ts";
import type { Services } from "./context.ts";
import {
  configuredGroups,
  configuredGroupsMax,
  configuredNameMax,
  groupResource,
  ownGroupConfigs,
  refuseGroupSetting,
} from "./group-config.ts";
import { kafkaKeys, refuseKafkaKey } from "./kafka-keys.ts";
import { accepted, attempt, type Refusal, refusal, repeated, voidRefusal } from "./refusal.ts";
import { isTopicSetting, refuseTopicSettings, resolveTopicSetting, topicSettings } from "./topic-config.ts";
import { refuseTopicName, type TopicChange } from "./topics.ts";

export interface ResourceChange {
  readonly resourceType: number;
  readonly resourceName: string;
  readonly configs: readonly KeyChange[];
}

export interface KeyChange {
  readonly name: string;
  /** One of `ConfigOperation`. */
  readonly configOperation: number;
  readonly value: string | null;
}

export interface ChangeOptions {
  /** Keys that are not named fall back to their default. */
  readonly replace: boolean;
  readonly validateOnly: boolean;
}

/** One answer per resource, in their order. A resource that is named twice is refused each time. */
export function changeConfigs(
  resources: readonly ResourceChange[],
  options: ChangeOptions,
  services: Services,
): Promise<(Refusal & Pick<ResourceChange, "resourceType" | "resourceName">)[]> {
  const key = ({ resourceType, resourceName }: ResourceChange) => `${resourceType} ${resourceName}`;
  const twice = repeated(resources.map(key));
  return Promise.all(
    resources.map(async (resource) => {
      const { resourceType, resourceName } = resource;
      const outcome = twice.has(key(resource))
        ? refusal(ErrorCode.INVALID_REQUEST, "A resource must be named once only.")
        : await inTurn(services, key(resource), () => attempt(() => change(resource, options, services)));
      return { ...outcome, resourceType, resourceName };
    }),
  );
}

/**
 * Appending to a list reads what it writes, and what is checked together must stay together: changes of
 * one resource wait for one another. By broker and resource, while there are any.
 */
const turns = new WeakMap<Services, Map<string, Promise<unknown>>>();

async function inTurn<T>(services: Services, resource: string, work: () => Promise<T>): Promise<T> {
  const running = turns.get(services) ?? new Map<string, Promise<unknown>>();
  turns.set(services, running);
  const before = running.get(resource);
  const result = before === undefined ? work() : before.then(work);
  const turn = result.catch(() => undefined);
  running.set(resource, turn);
  try {
    return await result;
  } finally {
    if (running.get(resource) === turn) running.delete(resource);
  }
}

async function change(
  resource: ResourceChange,
  options: ChangeOptions,
  services: Services,
): Promise<Refusal> {
  const wrong = refuseKeys(resource.configs);
  if (wrong !== null) return refusal(ErrorCode.INVALID_REQUEST, wrong);
  switch (resource.resourceType) {
    case ConfigResource.topic:
      return changeTopic(resource, options, services);
    case ConfigResource.broker:
      return changeBroker(resource, options, services);
    case ConfigResource.group:
      return changeGroup(resource, options, services);
    default:
      return refusal(
        ErrorCode.INVALID_REQUEST,
        `Resources of type ${resource.resourceType} have no configuration here.`,
      );
  }
}

function refuseKeys(configs: readonly KeyChange[]): string | null {
  const [twice] = repeated(configs.map(({ name }) => name));
  if (twice !== undefined) return `The key ${twice} is named twice.`;
  for (const { name, configOperation, value } of configs) {
    if (configOperation < ConfigOperation.set || configOperation > ConfigOperation.subtract) {
      return `The operation ${configOperation} on ${name} is unknown.`;
    }
    if (value === null && configOperation !== ConfigOperation.delete) return `The key ${name} has no value.`;
  }
  return null;
}

/** What a resource holds, seen by the changes to it. */
interface Current {
  /** Set on the resource itself. */
  readonly own: ReadonlyMap<string, string>;
  isList(name: string): boolean;
  /** The value in effect, for lists. */
  valueOf(name: string): string;
}

/** By key, null where it goes back to the default; a text says why not. */
function editsOf(configs: readonly KeyChange[], current: Current): Map<string, string | null> | string {
  const edits = new Map<string, string | null>();
  for (const { name, configOperation, value } of configs) {
    if (configOperation === ConfigOperation.delete) edits.set(name, null);
    else if (configOperation === ConfigOperation.set) edits.set(name, value);
    else if (!current.isList(name)) return `${name} is no list: it can be set or deleted only.`;
    else edits.set(name, editedList(current.valueOf(name), configOperation, value ?? ""));
  }
  return edits;
}

function editedList(before: string, operation: number, value: string): string {
  const elements = elementsOf(before);
  const given = elementsOf(value);
  if (operation === ConfigOperation.subtract) {
    return elements.filter((element) => !given.includes(element)).join(",");
  }
  return [...elements, ...given.filter((element) => !elements.includes(element))].join(",");
}

const elementsOf = (list: string): string[] =>
  list
    .split(",")
    .map((element) => element.trim())
    .filter((element) => element !== "");

function applied(
  own: ReadonlyMap<string, string>,
  edits: ReadonlyMap<string, string | null>,
  replace: boolean,
): Map<string, string> {
  const after = new Map(replace ? [] : own);
  for (const [name, value] of edits) {
    if (value === null) after.delete(name);
    else after.set(name, value);
  }
  return after;
}

async function changeTopic(
  { resourceName, configs }: ResourceChange,
  { replace, validateOnly }: ChangeOptions,
  { topics, config }: Services,
): Promise<Refusal> {
  const wrongName = refuseTopicName(resourceName);
  if (wrongName !== null) {
    return refusal(ErrorCode.INVALID_TOPIC_EXCEPTION, `Topic name is invalid: ${wrongName}`);
  }
  const topic = topics.byName(resourceName);
  if (topic === undefined) return refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  const edits = editsOf(configs, currentTopic(topic.configs, config));
  if (typeof edits === "string") return refusal(ErrorCode.INVALID_CONFIG, edits);
  const wrong = refuseTopicSettings(applied(topic.configs, edits, replace), config);
  if (wrong !== null) return refusal(ErrorCode.INVALID_CONFIG, wrong);
  if (validateOnly) return accepted;
  return told(await topics.configure(topic.id, edits, replace));
}

function currentTopic(own: ReadonlyMap<string, string>, config: BrokerConfig): Current {
  return {
    own,
    isList: (name) => isTopicSetting(name) && topicSettings[name].type === "list",
    valueOf: (name) => (isTopicSetting(name) ? (resolveTopicSetting(name, own, config).value ?? "") : ""),
  };
}

function told(outcome: TopicChange): Refusal {
  return outcome.kind === "done" ? accepted : voidRefusal(outcome.reason);
}

/** `resourceName`: "" for all brokers, else a node id. */
async function changeBroker(
  { resourceName, configs }: ResourceChange,
  { replace, validateOnly }: ChangeOptions,
  services: Services,
): Promise<Refusal> {
  const { brokers, brokerConfigs } = services.journal.state;
  const isKnown = Array.from(brokers.values()).some(({ nodeId }) => String(nodeId) === resourceName);
  if (resourceName !== "" && !isKnown) {
    return refusal(ErrorCode.INVALID_REQUEST, `There is no broker "${resourceName}".`);
  }
  const edits = editsOf(configs, currentBroker(brokerConfigs.get(resourceName) ?? new Map()));
  if (typeof edits === "string") return refusal(ErrorCode.INVALID_CONFIG, edits);
  for (const [name, value] of edits) {
    const wrong = value === null ? null : refuseBrokerKey(name, value);
    if (wrong !== null) return refusal(ErrorCode.INVALID_CONFIG, wrong);
  }
  return validateOnly ? accepted : write(services, resourceName, edits, replace);
}

async function write(
  { journal, cluster }: Services,
  resource: string,
  edits: ReadonlyMap<string, string | null>,
  replace: boolean,
): Promise<Refusal> {
  const outcome = await journal.append({
    kind: "brokerConfig",
    resource,
    replace,
    edits: Array.from(edits, ([name, value]) => ({ name, value })),
  });
  if (outcome.kind === "void") return voidRefusal(outcome.reason);
  await whenToldToAll(cluster.peers, journal);
  return accepted;
}

async function changeGroup(
  { resourceName, configs }: ResourceChange,
  { replace, validateOnly }: ChangeOptions,
  services: Services,
): Promise<Refusal> {
  const { journal, config } = services;
  if (resourceName === "" || resourceName.length > configuredNameMax) {
    const sentence = `Settings can be given to groups with a name of 1 to ${configuredNameMax} characters.`;
    return refusal(ErrorCode.INVALID_REQUEST, sentence);
  }
  const own = ownGroupConfigs(resourceName, journal.state);
  const edits = editsOf(configs, { own, isList: () => false, valueOf: () => "" });
  if (typeof edits === "string") return refusal(ErrorCode.INVALID_CONFIG, edits);
  for (const [name, value] of edits) {
    const wrong = value === null ? null : refuseGroupSetting(name, value, config);
    if (wrong !== null) return refusal(ErrorCode.INVALID_CONFIG, wrong);
  }
  const grows = own.size === 0 && applied(own, edits, replace).size > 0;
  if (grows && configuredGroups(journal.state).length >= configuredGroupsMax) {
    const sentence = `${configuredGroupsMax} groups have settings of their own, and there can be no more; take away those of groups that are gone.`;
    return refusal(ErrorCode.POLICY_VIOLATION, sentence);
  }
  return validateOnly ? accepted : write(services, groupResource(resourceName), edits, replace);
}

function currentBroker(own: ReadonlyMap<string, string>): Current {
  return {
    own,
    isList: isListKey,
    valueOf(name) {
      const fallback = isBrokerSetting(name) ? brokerSettings[name].default : kafkaKeys.get(name)?.default;
      return own.get(name) ?? fallback ?? "";
    },
  };
}

function refuseBrokerKey(name: string, value: string): string | null {
  return isBrokerSetting(name) ? refuseBrokerSetting(name, value) : refuseKafkaKey(name, value);
}
