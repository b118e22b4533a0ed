/** Random UUIDs (version 4), as Kafka writes those of members and those of topics and clients. */
import { type TopicId, topicIdFromBytes } from "../base/ids.ts";
import type { Random } from "../base/ports.ts";

/** 36 characters. */
export function randomUuid(random: Random): string {
  const hex = Buffer.from(drawn(random)).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** 22 characters of base64url; messages have one type for all of them. It never begins with a dash, which would confuse command lines. */
export function randomShortUuid(random: Random): TopicId {
  for (;;) {
    const id = topicIdFromBytes(drawn(random));
    if (!id.startsWith("-")) return id;
  }
}

function drawn(random: Random): Uint8Array {
  const bytes = random.bytes(16);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes;
}
