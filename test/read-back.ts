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
  // By batches: compaction leaves some without a record.
  let next = 0;
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
                fetchOffset: next,
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
    const from = next;
    for (const chunk of answer.responses[0]?.partitions[0]?.records ?? []) {
      for (const batch of batchesIn(chunk)) {
        for (const record of recordsIn(batch, 1e9)) if (record.offset >= from) found.push(record);
        next = batch.nextOffset;
      }
    }
    if (next === from) return found;
  }
}
