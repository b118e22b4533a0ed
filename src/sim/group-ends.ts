/** How groups come to their end in a simulated world: their members hear where to stop, and then what they read is judged. */
import type { Actor } from "./actor.ts";
import { SimConsumer } from "./consumer.ts";
import type { GroupHistory } from "./group-history.ts";
import type { History } from "./history.ts";
import type { Transactions } from "./start-transactions.ts";
import type { Place } from "./transactional-producer.ts";

interface Read {
  readonly name: string;
  readonly partitions: number;
}

/** When all is `written`, the members are told where their topic ends: they stop when they have committed all of it. */
export async function tellEnds(
  written: Promise<unknown>,
  { topic, history, actor }: { topic: Read; history: GroupHistory; actor: (partition: number) => Actor },
): Promise<void> {
  await written;
  const ends = new Map<number, number>();
  for (let partition = 0; partition < topic.partitions; partition++)
    ends.set(partition, await new SimConsumer(actor(partition), topic.name, partition).readEnd());
  history.finish(ends);
}

/** Judges all who read this partition for a group, by what is there in the end. */
export function judgeGroups(
  { topic, partition, offsets }: Place & { readonly offsets: Iterable<number> },
  world: {
    readonly groups: readonly {
      readonly name: string;
      readonly topic: Read;
      readonly history: GroupHistory;
    }[];
    readonly transactions: Transactions | null;
    readonly history: History;
    readonly nowMs: number;
  },
): void {
  const there = [...offsets];
  const end = { topic, partition, atMs: world.nowMs };
  for (const { name, topic: read, history } of world.groups) {
    if (read.name !== topic) continue;
    history.judge(name, partition, there);
    world.history.groupEnded(name, end);
  }
  for (const { group, source } of world.transactions?.transformers ?? [])
    if (source.topic === topic && source.partition === partition) world.history.groupEnded(group, end);
}
