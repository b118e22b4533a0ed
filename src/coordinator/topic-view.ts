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
