/** The cluster's topics as groups see them. */
import type { TopicId } from "../base/ids.ts";

export interface TopicFacts {
  readonly id: TopicId;
  readonly name: string;
  readonly partitionCount: number;
}

export interface TopicView {
  /** Rises whenever a topic comes, goes or grows. */
  readonly version: number;
  find(name: string): TopicFacts | undefined;
  nameOf(id: TopicId): string | undefined;
  names(): Iterable<string>;
  /** Whether the broker keeps state of its own there. */
  isInternal(name: string): boolean;
}

/** 52 bits over names, ids and sizes, in any order: enough to tell that topics changed. */
export function hashTopics(topics: Iterable<TopicFacts>): number {
  const lines = Array.from(topics, ({ name, id, partitionCount }) => `${name}\n${id}\n${partitionCount}`);
  const text = lines.sort().join("\n\n");
  let [a, b] = [0x811c9dc5, 0x1b873593];
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x85ebca6b) ^ (b >>> 13);
  }
  return (a >>> 0) * 0x10_0000 + ((b >>> 0) & 0xf_ffff);
}
