/**
 * One group, whatever its members speak: its committed offsets, and the members if it has any. A group
 * that only ever had offsets committed (a tool, a client that assigns partitions by itself) has no members.
 */
import { Reader } from "../../base/bytes.ts";
import { MalformedError } from "../../base/errors.ts";
import { compile } from "../../schema/compile.ts";
import { array, string, struct } from "../../schema/types.ts";
import { ClassicGroup } from "./classic.ts";
import { metadataFor } from "./classic-member.ts";
import { GroupOffsets } from "./offsets.ts";
import type { GroupSettings } from "./settings.ts";

/** The protocol type of consumers; Kafka Connect and others have their own. */
export const consumerProtocolType = "consumer";

export class Group {
  readonly id: string;
  readonly offsets = new GroupOffsets();
  readonly #settings: GroupSettings;
  #classic: ClassicGroup | null = null;

  constructor(id: string, settings: GroupSettings) {
    this.id = id;
    this.#settings = settings;
  }

  /** Null: it has no members and never had. */
  get classic(): ClassicGroup | null {
    return this.#classic;
  }

  /** Made when somebody joins. */
  asClassic(): ClassicGroup {
    this.#classic ??= new ClassicGroup(this.id, this.#settings);
    return this.#classic;
  }

  /** Its tombstone was written. */
  forgetMembers(): void {
    this.#classic = null;
  }

  get hasMembers(): boolean {
    return this.#classic !== null && !this.#classic.isEmpty;
  }

  /** Nothing would be missed. */
  get isIdle(): boolean {
    return this.offsets.isEmpty && (this.#classic === null || this.#classic.isIdle);
  }

  /** Topics that its members read now; null: it cannot be told, so it may be any. */
  subscribedTopics(): ReadonlySet<string> | null {
    const group = this.#classic;
    if (group === null || group.isEmpty) return new Set();
    if (group.protocolType !== consumerProtocolType || group.protocol === null) return null;
    const topics = new Set<string>();
    for (const member of group.members) {
      const subscribed = subscriptionOf(metadataFor(member, group.protocol));
      if (subscribed === null) return null;
      for (const topic of subscribed) topics.add(topic);
    }
    return topics;
  }
}

/** The beginning of every version of a consumer's subscription (ConsumerProtocolSubscription, behind its version). */
const subscription = compile(struct({ topics: array(string) }), 0, { flexible: false });

function subscriptionOf(metadata: Uint8Array): readonly string[] | null {
  try {
    const reader = new Reader(metadata);
    reader.int16();
    return subscription.read(reader).topics;
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}
