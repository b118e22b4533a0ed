/** Makes a topic, however often that has to be asked. */
import { CreateTopics } from "../protocol/messages/create-topics.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import type { Actor } from "./actor.ts";
import { Disconnected } from "./client.ts";

const version = 5;

export interface NewTopic {
  readonly name: string;
  readonly partitions: number;
  readonly configs?: readonly { readonly name: string; readonly value: string }[];
}

/** `whenDown` is called, and waited for, after each attempt that was cut off. */
export async function createTopic(
  actor: Actor,
  { name, partitions, configs = [] }: NewTopic,
  whenDown: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  for (;;) {
    try {
      const client = await actor.connect("admin");
      const answer = await client.call(CreateTopics, version, {
        topics: [{ name, numPartitions: partitions, replicationFactor: 1, assignments: [], configs }],
        timeoutMs: 10_000,
        validateOnly: false,
      });
      client.close();
      const code = answer.topics[0]?.errorCode;
      if (code === ErrorCode.NONE || code === ErrorCode.TOPIC_ALREADY_EXISTS) return;
      throw new Error(`creating ${name}: ${errorFacts(code ?? -1).name}`);
    } catch (cause) {
      if (!(cause instanceof Disconnected)) throw cause;
      await whenDown();
      await actor.pause(20);
    }
  }
}
