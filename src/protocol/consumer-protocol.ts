/**
 * What members of a classic consumer group say to each other through a coordinator that reads none of it:
 * each its subscription, the leader each one's assignment. An int16 names the version; a later version
 * only adds fields at the end, so a version that is not known here is read as the newest that is.
 */
import { Reader, Writer } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import { type Codec, compile } from "../schema/compile.ts";
import {
  array,
  bytes,
  type Decoded,
  from,
  ignorable,
  int32,
  nullable,
  orElse,
  string,
  struct,
  type Type,
} from "../schema/types.ts";

const topicPartitions = struct({ topic: string, partitions: array(int32) });

export const ConsumerSubscription = struct({
  topics: array(string),
  userData: orElse(null, nullable(bytes)),
  /** What the member reads at the moment; the assignor leaves it where it can (KIP-429). */
  ownedPartitions: ignorable(from(1, array(topicPartitions))),
  /** In which generation the member was given them: an older claim yields (KIP-792). */
  generationId: ignorable(from(2, orElse(-1, int32))),
  rackId: ignorable(from(3, orElse(null, nullable(string)))),
});
export interface ConsumerSubscription extends Decoded<typeof ConsumerSubscription> {}

export const ConsumerAssignment = struct({
  assignedPartitions: array(topicPartitions),
  userData: orElse(null, nullable(bytes)),
});
export interface ConsumerAssignment extends Decoded<typeof ConsumerAssignment> {}

/** The `protocolType` of JoinGroup under which these are exchanged. */
export const consumerProtocolType = "consumer";

const versionMax = 3;

const codecsOf = <T>(type: Type<T>): readonly Codec<T>[] =>
  Array.from({ length: versionMax + 1 }, (_, version) => compile(type, version, { flexible: false }));
const subscriptions = codecsOf(ConsumerSubscription);
const assignments = codecsOf(ConsumerAssignment);

export const encodeSubscription = (value: ConsumerSubscription, version = versionMax): Uint8Array =>
  encode(subscriptions, value, version);
/** Throws `MalformedError`. */
export const decodeSubscription = (from: Uint8Array): ConsumerSubscription => decode(subscriptions, from);
export const encodeAssignment = (value: ConsumerAssignment, version = versionMax): Uint8Array =>
  encode(assignments, value, version);
/** Throws `MalformedError`. */
export const decodeAssignment = (from: Uint8Array): ConsumerAssignment => decode(assignments, from);

function encode<T>(codecs: readonly Codec<T>[], value: T, version: number): Uint8Array {
  const writer = new Writer(64);
  writer.int16(version);
  (codecs[version] as Codec<T>).write(writer, value);
  return writer.finishFlat();
}

function decode<T>(codecs: readonly Codec<T>[], from: Uint8Array): T {
  const reader = new Reader(from);
  const version = reader.int16();
  const codec = codecs[Math.min(version, versionMax)];
  if (codec === undefined) throw new MalformedError(`version ${version} of the consumer protocol`);
  return codec.read(reader);
}
