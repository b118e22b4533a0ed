/**
 * The identities that must never be mixed up, as branded types. Only this file makes them from plain
 * numbers and strings; a cast anywhere else is a mistake.
 */
declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** Position of a record in a partition; dense, starts at 0. An offset that was served never names other bytes. */
export type Offset = Brand<number, "Offset">;
/** Rises by one with each change of a partition's owner (KIP-101). −1: unknown. */
export type LeaderEpoch = Brand<number, "LeaderEpoch">;
export type PartitionIndex = Brand<number, "PartitionIndex">;
/** 16 bytes as Kafka prints them: 22 characters of base64url. */
export type TopicId = Brand<string, "TopicId">;
/** −1: none. */
export type ProducerId = Brand<number, "ProducerId">;
/** int16; −1: none. */
export type ProducerEpoch = Brand<number, "ProducerEpoch">;
/** What clients know a broker by; stable across restarts. */
export type NodeId = Brand<number, "NodeId">;
/** One life of one broker process: the number of the journal slot that holds its REGISTER. */
export type BrokerEpoch = Brand<number, "BrokerEpoch">;
/** Absolute position in the WAL of one broker epoch. Counts frames only, neither file headers nor remainders. */
export type WalPosition = Brand<number, "WalPosition">;

export const offset = (value: number): Offset => value as Offset;
export const leaderEpoch = (value: number): LeaderEpoch => value as LeaderEpoch;
export const partitionIndex = (value: number): PartitionIndex => value as PartitionIndex;
export const topicId = (value: string): TopicId => value as TopicId;
export const producerId = (value: number): ProducerId => value as ProducerId;
export const producerEpoch = (value: number): ProducerEpoch => value as ProducerEpoch;
export const nodeId = (value: number): NodeId => value as NodeId;
export const brokerEpoch = (value: number): BrokerEpoch => value as BrokerEpoch;
export const walPosition = (value: number): WalPosition => value as WalPosition;

export const ZERO_OFFSET = offset(0);
export const NO_PRODUCER = producerId(-1);
export const NO_PRODUCER_EPOCH = producerEpoch(-1);
/** The all-zero topic id: "no id given". */
export const NO_TOPIC_ID = topicId("AAAAAAAAAAAAAAAAAAAAAA");

/** `count` records further. */
export const advance = (from: Offset, count: number): Offset => (from + count) as Offset;
/** How many offsets lie in [from, to). */
export const distance = (from: Offset, to: Offset): number => to - from;

/** The 16 bytes of a topic id, freshly allocated. */
export function topicIdBytes(id: TopicId): Uint8Array {
  return new Uint8Array(Buffer.from(id, "base64url"));
}

export function topicIdFromBytes(bytes: Uint8Array, at = 0): TopicId {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, 16).toString("base64url") as TopicId;
}

/** One name for a partition, for use as a map key. */
export const partitionKey = (topic: TopicId, index: PartitionIndex): string => `${topic}/${index}`;
