/**
 * Dead letters: records that could not be handled, in a topic of their own, with key, value and headers as they were and
 * more headers that say where they come from and why (KIP-1191). The broker writes those of share groups, this client
 * those of consumer groups; both look the same.
 */
import type { IncomingRecord } from "../incoming-record.ts";
import type { OutgoingRecord } from "../records.ts";

/** KIP-1191, and Holdfast's own time of death. Numbers are decimal text, times ms since 1970. */
export const DeadLetterHeader = {
  topic: "__dlq.errors.topic",
  partition: "__dlq.errors.partition",
  offset: "__dlq.errors.offset",
  group: "__dlq.errors.group",
  deliveryCount: "__dlq.errors.delivery.count",
  message: "__dlq.errors.message",
  timestamp: "__dlq.errors.timestamp",
} as const;

/** Of a record that was redriven: which dead letter it was, and how often it has been one. */
export const RedriveHeader = {
  topic: "__redrive.topic",
  partition: "__redrive.partition",
  offset: "__redrive.offset",
  count: "__redrive.count",
} as const;

/** KIP-1191 keeps names that begin so for brokers, which may say more than the ones above: Holdfast says when. */
const deathPrefix = "__dlq.errors.";
const ofRedrives: ReadonlySet<string> = new Set(Object.values(RedriveHeader));

/** Where a record died. */
export interface Death {
  readonly group: string;
  /** How often it was delivered. */
  readonly deliveryCount: number;
  readonly reason: string;
  /** When, ms since 1970. */
  readonly wallMs: number;
}

export interface DeadLetter {
  /** As it lies in the dead-letter topic. */
  readonly record: IncomingRecord;
  /** Where it came from; null where no header says so. */
  readonly origin: { readonly topic: string; readonly partition: number; readonly offset: number } | null;
  readonly group: string | null;
  readonly deliveryCount: number | null;
  readonly reason: string | null;
  /** How often it was redriven before; 0: never. */
  readonly redriven: number;
}

export function deadLetterOf(record: IncomingRecord): DeadLetter {
  const text = (name: string): string | null => headerText(record, name);
  const topic = text(DeadLetterHeader.topic);
  const partition = numberOf(text(DeadLetterHeader.partition));
  const offset = numberOf(text(DeadLetterHeader.offset));
  return {
    record,
    origin: topic === null || partition === null || offset === null ? null : { topic, partition, offset },
    group: text(DeadLetterHeader.group),
    deliveryCount: numberOf(text(DeadLetterHeader.deliveryCount)),
    reason: text(DeadLetterHeader.message),
    redriven: numberOf(text(RedriveHeader.count)) ?? 0,
  };
}

/** The dead letter of a record; key, value, headers and time are the record's own. */
export function deadLetterFor(topic: string, record: IncomingRecord, death: Death): OutgoingRecord {
  const facts = {
    [DeadLetterHeader.topic]: record.topic,
    [DeadLetterHeader.partition]: String(record.partition),
    [DeadLetterHeader.offset]: String(record.offset),
    [DeadLetterHeader.group]: death.group,
    [DeadLetterHeader.deliveryCount]: String(death.deliveryCount),
    [DeadLetterHeader.message]: death.reason,
    [DeadLetterHeader.timestamp]: String(Math.floor(death.wallMs)),
  };
  return {
    topic,
    key: record.key,
    value: record.value,
    // Of an earlier death only what says how often it was redriven is still true.
    headers: [
      ...record.headers.filter(({ key }) => !key.startsWith(deathPrefix)),
      ...Object.entries(facts).map(([key, value]) => ({ key, value })),
    ],
    ...(record.timestampMs < 0 ? {} : { timestampMs: record.timestampMs }),
  };
}

/** What goes back to where the letter came from, or to `to`. It has no partition: the key decides. */
export function redrivenFrom(letter: DeadLetter, to: string): OutgoingRecord {
  const { record, redriven } = letter;
  return {
    topic: to,
    key: record.key,
    value: record.value,
    headers: [...plainHeaders(record.headers), ...redriveHeaders(letter, redriven + 1)],
  };
}

/** Without those of dead letters and redrives. */
export function plainHeaders<H extends { readonly key: string }>(headers: readonly H[]): readonly H[] {
  return headers.filter(({ key }) => !key.startsWith(deathPrefix) && !ofRedrives.has(key));
}

export function redriveHeaders(
  { record }: DeadLetter,
  count: number,
): readonly { readonly key: string; readonly value: string }[] {
  return [
    { key: RedriveHeader.topic, value: record.topic },
    { key: RedriveHeader.partition, value: String(record.partition) },
    { key: RedriveHeader.offset, value: String(record.offset) },
    { key: RedriveHeader.count, value: String(count) },
  ];
}

function headerText({ headers }: IncomingRecord, name: string): string | null {
  // The last counts, as in Kafka's clients: an earlier one may be of an earlier death.
  return headers.findLast(({ key }) => key === name)?.value?.toString("utf8") ?? null;
}

function numberOf(text: string | null): number | null {
  if (text === null || !/^\d{1,16}$/.test(text)) return null;
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : null;
}
