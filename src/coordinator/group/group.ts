/**
 * One group, whatever its members speak: its committed offsets, and the members if it has any. A group
 * that only ever had offsets committed (a tool, a client that assigns partitions by itself) has no members.
 */
import { consumerProtocolType } from "../../protocol/consumer-protocol.ts";
import type { ConsumerRecord, ShareRecord } from "./records.ts";
import type { TopicView } from "../topic-view.ts";
import { classicBytes } from "./member-bytes.ts";
import { ClassicGroup } from "./classic.ts";
import { metadataFor } from "./classic-member.ts";
import { ConsumerGroup } from "./consumer.ts";
import { subscriptionOf } from "./migration.ts";
import { GroupOffsets } from "./offsets.ts";
import { PendingOffsets } from "./pending-offsets.ts";
import type { GroupSettings } from "./settings.ts";
import { ShareGroup } from "./share.ts";

/** What a group takes without offsets and members. Measured with 100,000 groups. */
const groupBytes = 700;

export class Group {
  readonly id: string;
  readonly offsets = new GroupOffsets();
  /** Those of transactions that are still open. */
  readonly pending = new PendingOffsets();
  readonly #settings: GroupSettings;
  readonly #topics: TopicView;
  /** What its members speak; never both. */
  #classic: ClassicGroup | null = null;
  #consumer: ConsumerGroup | null = null;
  /** A share group is nothing else besides, and has no committed offsets. */
  #share: ShareGroup | null = null;

  constructor(id: string, settings: GroupSettings, topics: TopicView) {
    this.id = id;
    this.#settings = settings;
    this.#topics = topics;
  }

  /** About what it takes in memory. */
  get bytes(): number {
    let bytes = groupBytes + this.id.length + this.offsetBytes;
    for (const member of this.#classic?.members ?? [])
      bytes += classicBytes(member.protocols, member.assignment);
    return bytes + (this.#consumer?.bytes ?? 0) + (this.#share?.bytes ?? 0);
  }

  /** Of that, what committed offsets take. */
  get offsetBytes(): number {
    return this.offsets.bytes + this.pending.bytes;
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
  forgetClassic(): void {
    this.#classic = null;
  }

  /** Null: its members do not speak the protocol of KIP-848, or it has none. */
  get consumer(): ConsumerGroup | null {
    return this.#consumer;
  }

  applyConsumer(record: ConsumerRecord): void {
    if (record.kind === "consumer" && record.value === null) {
      this.#consumer = null;
      return;
    }
    if (record.value === null && this.#consumer === null) return;
    this.#consumer ??= new ConsumerGroup(this.id, this.#settings, this.#topics);
    this.#consumer.apply(record);
  }

  /** Made when somebody joins; what it writes makes it last. */
  asConsumer(): ConsumerGroup {
    this.#consumer ??= new ConsumerGroup(this.id, this.#settings, this.#topics);
    return this.#consumer;
  }

  /** Null: it is no share group. */
  get share(): ShareGroup | null {
    return this.#share;
  }

  applyShare(record: ShareRecord): void {
    if (record.kind === "share" && record.value === null) {
      this.#share = null;
      return;
    }
    if (record.value === null && this.#share === null) return;
    this.asShare().apply(record);
  }

  /** Made when somebody joins, of a group that is nothing else; what it writes makes it last. */
  asShare(): ShareGroup {
    this.#share ??= new ShareGroup(this.id, this.#settings, this.#topics);
    return this.#share;
  }

  /** Whether somebody is, or was, a member. */
  get isKnown(): boolean {
    return this.#classic !== null || this.#consumer !== null;
  }

  hasMember(id: string): boolean {
    const isConsumer = this.#classic?.hasMember(id) === true || this.#consumer?.member(id) !== undefined;
    return isConsumer || this.#share?.hasMember(id) === true;
  }

  get hasMembers(): boolean {
    const all = [this.#classic, this.#consumer, this.#share];
    return all.some((each) => each?.isEmpty === false);
  }

  /** Nothing would be missed. */
  get isIdle(): boolean {
    if (this.#consumer !== null && (this.#consumer.epoch > 0 || !this.#consumer.isEmpty)) return false;
    if (!this.offsets.isEmpty || !this.pending.isEmpty || this.#share?.isIdle === false) return false;
    return this.#classic === null || this.#classic.isIdle;
  }

  /** Monotonic; `Infinity`: nothing will happen by itself. */
  get nextDeadlineMs(): number {
    const all = [this.#classic, this.#consumer, this.#share];
    return Math.min(...all.map((each) => each?.nextDeadlineMs ?? Infinity));
  }

  /** Topics that its members read now; null: it cannot be told, so it may be any. */
  subscribedTopics(): ReadonlySet<string> | null {
    if (this.#consumer !== null) {
      return new Set(Array.from(this.#consumer.wantedTopics().values(), ({ name }) => name));
    }
    const group = this.#classic;
    if (group === null || group.isEmpty) return new Set();
    if (group.protocolType !== consumerProtocolType || group.protocol === null) return null;
    const topics = new Set<string>();
    for (const member of group.members) {
      const subscription = subscriptionOf([{ name: "", metadata: metadataFor(member, group.protocol) }]);
      if (subscription === null) return null;
      for (const topic of subscription.topics) topics.add(topic);
    }
    return topics;
  }
}
