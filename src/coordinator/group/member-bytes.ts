/** About what a member takes in memory, by what it says of itself. */
import type { OfferedProtocol } from "./classic-member.ts";
import { type PartitionSet, sizeOf } from "./partition-set.ts";

const plainBytes = 1_000;
const nameBytes = 32;
const partitionBytes = 64;

export function classicBytes(protocols: readonly OfferedProtocol[], assignment?: Uint8Array): number {
  return protocols.reduce(
    (sum, { name, metadata }) => sum + nameBytes + name.length + metadata.byteLength,
    plainBytes + (assignment?.byteLength ?? 0),
  );
}

export function consumerBytes(topicNames: readonly string[]): number {
  return topicNames.reduce((sum, name) => sum + nameBytes + name.length, plainBytes);
}

export function partitionsBytes(...sets: readonly PartitionSet[]): number {
  return sets.reduce((sum, set) => sum + partitionBytes * sizeOf(set), 0);
}
