/** What a play's members read: numbered records, written all the while to all partitions by our own producer. */
import { setTimeout as sleep } from "node:timers/promises";
import { GroupJudge } from "./group-judge.ts";

interface Sender {
  send(record: { topic: string; partition: number; value: string }): Promise<{ readonly offset: number }>;
}

export interface Input {
  /** Ends the writing of a play that failed. */
  stop(): void;
  /** Answers where each partition ends when all is acknowledged. */
  end(): Promise<number[]>;
  /** After the end: one record more to each partition; the answer of `end` grows with it. */
  more(): Promise<void>;
}

const tickMs = 50;

/** Begins to write to a topic that is empty; `recordsMax` is how many at most. */
export function writing(
  producer: Sender,
  topic: string,
  partitionCount: number,
  recordsPerSecond: number,
  recordsMax: number = Number.POSITIVE_INFINITY,
): Input {
  const ends = Array.from({ length: partitionCount }, () => 0);
  const sent: Promise<void>[] = [];
  let isEnding = false;
  const perTick = Math.max(1, Math.round((recordsPerSecond * tickMs) / 1000));
  const send = async (partition: number): Promise<void> => {
    const due = ends[partition] ?? 0;
    ends[partition] = due + 1;
    const { offset } = await producer.send({ topic, partition, value: GroupJudge.value(partition, due) });
    if (offset !== due) throw new Error(`Record ${due} of partition ${partition} is at ${offset}`);
  };
  const work = (async () => {
    for (let place = 0; !isEnding && place < recordsMax; place += perTick) {
      for (let index = 0; index < perTick; index += 1) {
        sent.push(send((place + index) % partitionCount));
        // Awaited at the end.
        sent.at(-1)?.catch(() => undefined);
      }
      await sleep(tickMs);
    }
  })();
  return {
    stop: () => {
      isEnding = true;
    },
    end: async () => {
      isEnding = true;
      await work;
      await Promise.all(sent);
      return ends;
    },
    more: async () => {
      await Promise.all(ends.map((_, partition) => send(partition)));
    },
  };
}
