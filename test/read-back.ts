/** What a simulated broker holds, read with plain requests and not with our client: the judge of the client's tests. */
import { leaderEpoch, NO_TOPIC_ID, partitionIndex } from "../src/base/ids.ts";
import { Fetch } from "../src/protocol/messages/fetch.ts";
import { batchesIn } from "../src/record/batch.ts";
import { type BatchRecord, recordsIn } from "../src/record/record.ts";
import type { SimulatedBroker } from "./simulated-broker.ts";

/** All records of a partition, in order. */
export async function readBack(
  broker: SimulatedBroker,
  topic: string,
  partition = 0,
): Promise<BatchRecord[]> {
  const found: BatchRecord[] = [];
  for (;;) {
    const answer = await broker.ask(
      Fetch,
      {
        clusterId: null,
        replicaId: -1,
        replicaState: { replicaId: -1, replicaEpoch: -1 },
        maxWaitMs: 0,
        minBytes: 0,
        maxBytes: 50_000_000,
        isolationLevel: 0,
        sessionId: 0,
        sessionEpoch: -1,
        topics: [
          {
            topic,
            topicId: NO_TOPIC_ID,
            partitions: [
              {
                partition: partitionIndex(partition),
                currentLeaderEpoch: leaderEpoch(-1),
                fetchOffset: (found.at(-1)?.offset ?? -1) + 1,
                lastFetchedEpoch: leaderEpoch(-1),
                logStartOffset: -1,
                partitionMaxBytes: 50_000_000,
              },
            ],
          },
        ],
        forgottenTopicsData: [],
        rackId: "",
      } as never,
      12,
    );
    const before = found.length;
    const next = (found.at(-1)?.offset ?? -1) + 1;
    for (const chunk of answer.responses[0]?.partitions[0]?.records ?? []) {
      for (const batch of batchesIn(chunk)) {
        for (const record of recordsIn(batch, 1e9)) if (record.offset >= next) found.push(record);
      }
    }
    if (found.length === before) return found;
  }
}
