/** What a member of a group can be told, with defaults and bounds; what is wrong about it is said before a byte is sent. */
import {
  type ConsumerOptions,
  type ConsumerSettings,
  type PartitionRef,
  settingsOf,
  type StartingPoint,
} from "../consumer-options.ts";
import { OptionError } from "../errors.ts";
import { atLeast } from "../settings.ts";
import type { CommitError } from "./errors.ts";
import { type Assignor, type AssignorName, assignors, type TopicPartition } from "./assignor.ts";

/** Why partitions are taken from a member: the group gives them to another, or has done so already. */
export type ReleaseReason = "revoked" | "lost";

export interface GroupConsumerOptions
  extends Omit<ConsumerOptions, "topic" | "partitions" | "assignment" | "from"> {
  readonly group: string;
  /** One topic, several, or all whose whole names the expression matches, also those that are created later. */
  readonly topic: string | readonly string[] | RegExp;
  /**
   * Where the group begins in a topic of which it has committed nothing; default "start". A partition that is
   * added to a topic that the group knows is read from its beginning, whatever this says.
   */
  readonly from?: Exclude<StartingPoint, number> | undefined;
  /**
   * Whether what is finished is committed by itself: about every `commitIntervalMs`, when partitions are
   * taken away, and at close. Default true.
   */
  readonly autoCommit?: boolean | undefined;
  /** Default 1,000. */
  readonly commitIntervalMs?: number | undefined;
  /** How long a commit that has to succeed is tried; default 30,000. */
  readonly commitTimeoutMs?: number | undefined;
  /**
   * "consumer" is the new protocol (KIP-848), in which the broker gives out the partitions, "classic" the old one.
   * Default: the new one where the broker serves it and no `assignors` are named.
   */
  readonly protocol?: "consumer" | "classic" | undefined;
  /** With the new protocol: how the broker gives out the partitions; default: its own choice. */
  readonly serverAssignor?: "uniform" | "range" | undefined;
  /** With the classic one, in the order of preference; default `["cooperative-sticky"]`. All members need one in common. */
  readonly assignors?: readonly AssignorName[] | undefined;
  /** A name of this member that stays the same: when it restarts within the session, nothing moves (KIP-345). */
  readonly instanceId?: string | undefined;
  readonly rack?: string | undefined;
  /** A member that is silent for so long is taken for dead; default 45,000. */
  readonly sessionTimeoutMs?: number | undefined;
  /** Default 3,000; at most a third of the session. */
  readonly heartbeatIntervalMs?: number | undefined;
  /** How long the group waits for its members when it rebalances; default 60,000. */
  readonly rebalanceTimeoutMs?: number | undefined;
  /** How long what is being handled may take to finish when its partition is taken away, or at close; default 30,000. */
  readonly releaseTimeoutMs?: number | undefined;
  readonly onAssigned?: ((partitions: readonly TopicPartition[]) => void) | undefined;
  /** Called when nothing of them is being handled any more and before the last commit; waited for within `releaseTimeoutMs`. */
  readonly onReleased?:
    | ((partitions: readonly TopicPartition[], reason: ReleaseReason) => void | Promise<void>)
    | undefined;
  /** Told of commits that failed and that nobody waits for. */
  readonly onCommitFailed?: ((failure: CommitError) => void) | undefined;
}

export interface GroupSettings {
  readonly group: string;
  /** Null: those that `pattern` matches. */
  readonly topics: readonly string[] | null;
  readonly pattern: RegExp | null;
  readonly from: Exclude<StartingPoint, number>;
  readonly autoCommit: boolean;
  readonly commitIntervalMs: number;
  readonly commitTimeoutMs: number;
  /** "either": the new one where it is served. */
  readonly protocol: "consumer" | "classic" | "either";
  readonly serverAssignor: string | null;
  readonly assignors: readonly Assignor[];
  /** All assignors are cooperative: the member keeps reading while the group rebalances. */
  readonly isCooperative: boolean;
  readonly instanceId: string | null;
  readonly rack: string | null;
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly releaseTimeoutMs: number;
  readonly onAssigned: (partitions: readonly TopicPartition[]) => void;
  readonly onReleased: (partitions: readonly TopicPartition[], reason: ReleaseReason) => void | Promise<void>;
  readonly onCommitFailed: (failure: CommitError) => void;
  readonly reading: ConsumerSettings;
}

/** Throws `OptionError`. */
export function groupSettingsOf(options: GroupConsumerOptions): GroupSettings {
  const { group, topic, from = "start", instanceId = null, rack = null } = options;
  if (typeof group !== "string" || group === "") throw new OptionError("group is the name of a group.");
  if (typeof from === "number") {
    throw new OptionError(
      "from is no offset for a group, which goes on where it left off; seek moves a partition.",
    );
  }
  const topics = topic instanceof RegExp ? null : [...new Set(typeof topic === "string" ? [topic] : topic)];
  if (topics !== null && (topics.length === 0 || topics.includes(""))) {
    throw new OptionError("A member of a group needs a topic, several, or a regular expression.");
  }
  const sessionTimeoutMs = atLeast("sessionTimeoutMs", options.sessionTimeoutMs ?? 45_000, 100);
  const heartbeatIntervalMs = atLeast(
    "heartbeatIntervalMs",
    options.heartbeatIntervalMs ?? Math.min(3_000, sessionTimeoutMs / 3),
    10,
  );
  if (heartbeatIntervalMs > sessionTimeoutMs / 3) {
    throw new OptionError("heartbeatIntervalMs is at most a third of sessionTimeoutMs.");
  }
  const rebalanceTimeoutMs = atLeast("rebalanceTimeoutMs", options.rebalanceTimeoutMs ?? 60_000, 100);
  const releaseTimeoutMs = atLeast(
    "releaseTimeoutMs",
    options.releaseTimeoutMs ?? Math.min(30_000, rebalanceTimeoutMs / 2),
    0,
  );
  if (releaseTimeoutMs >= rebalanceTimeoutMs) {
    throw new OptionError(
      "releaseTimeoutMs is less than rebalanceTimeoutMs: after that the group goes on without this member.",
    );
  }
  const chosen = assignorsOf(options.assignors ?? ["cooperative-sticky"]);
  const ignore = (): void => undefined;
  return {
    group,
    topics,
    pattern: topic instanceof RegExp ? whole(topic) : null,
    from,
    autoCommit: options.autoCommit ?? true,
    commitIntervalMs: atLeast("commitIntervalMs", options.commitIntervalMs ?? 1_000, 1),
    commitTimeoutMs: atLeast("commitTimeoutMs", options.commitTimeoutMs ?? 30_000, 0),
    protocol: protocolOf(options),
    serverAssignor: options.serverAssignor ?? null,
    assignors: chosen,
    isCooperative: chosen.every(({ isCooperative }) => isCooperative),
    instanceId,
    rack,
    sessionTimeoutMs,
    heartbeatIntervalMs,
    rebalanceTimeoutMs,
    releaseTimeoutMs,
    onAssigned: options.onAssigned ?? ignore,
    onReleased: options.onReleased ?? ignore,
    onCommitFailed: options.onCommitFailed ?? ignore,
    reading: readingOf(options, from),
  };
}

function protocolOf({
  protocol,
  assignors: named,
  serverAssignor,
}: GroupConsumerOptions): GroupSettings["protocol"] {
  if (protocol !== undefined && protocol !== "consumer" && protocol !== "classic") {
    throw new OptionError(`protocol is "consumer" or "classic", not "${String(protocol)}".`);
  }
  if (named !== undefined && (protocol === "consumer" || serverAssignor !== undefined)) {
    throw new OptionError(
      "assignors are of the classic protocol; in the new one the broker gives out the partitions (serverAssignor).",
    );
  }
  if (serverAssignor !== undefined && protocol === "classic") {
    throw new OptionError("serverAssignor is of the new protocol; the classic one has assignors.");
  }
  return protocol ?? (named !== undefined ? "classic" : serverAssignor !== undefined ? "consumer" : "either");
}

/** The partitions come from the group. */
function readingOf(options: GroupConsumerOptions, from: StartingPoint): ConsumerSettings {
  const { group: _group, topic: _topic, ...reading } = options;
  return { ...settingsOf({ ...reading, from, topic: "any" }), topics: [], assignment: [] };
}

/** As Kafka's: the expression stands for the whole name. */
function whole(pattern: RegExp): RegExp {
  return new RegExp(`^(?:${pattern.source})$`, pattern.flags.replace(/[gy]/g, ""));
}

function assignorsOf(names: readonly AssignorName[]): readonly Assignor[] {
  if (names.length === 0) throw new OptionError("assignors names at least one.");
  return names.map((name) => {
    const found: Assignor | undefined = Object.hasOwn(assignors, name) ? assignors[name] : undefined;
    if (found === undefined) {
      throw new OptionError(`There is no assignor "${name}": ${Object.keys(assignors).join(", ")}.`);
    }
    return found;
  });
}

/** A partition and an offset to commit for it: that of the next record to be handled. */
export interface CommitRequest extends PartitionRef {
  readonly offset: number;
  /** Kept with the offset, for people; the broker bounds its length. */
  readonly metadata?: string;
}
