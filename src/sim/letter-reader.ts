/** Reads all dead letters of a topic of one partition: their values, in order. Those of which only headers are left are passed over. */
import { leaderEpoch, NO_TOPIC_ID, nodeId, offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { Fetch } from "../protocol/messages/fetch.ts";
import { wholeBatchesIn } from "../record/batch.ts";
import { recordsIn } from "../record/record.ts";
import type { Actor } from "./actor.ts";
import { Disconnected } from "./client.ts";

const version = 11;
const inflatedBytesMax = 1 << 24;

/** Rejects with `Disconnected`. */
export async function readLetters(actor: Actor, topic: string): Promise<readonly string[]> {
  const client = await actor.connect("letters");
  try {
    const letters: string[] = [];
    for (let position = 0; ; ) {
      const { responses } = await client.call(Fetch, version, {
        clusterId: null,
        replicaId: nodeId(-1),
        replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
        maxWaitMs: 0,
        minBytes: 0,
        maxBytes: 1 << 20,
        isolationLevel: 1,
        sessionId: 0,
        sessionEpoch: -1,
        topics: [
          {
            topic,
            topicId: NO_TOPIC_ID,
            partitions: [
              {
                partition: partitionIndex(0),
                currentLeaderEpoch: leaderEpoch(-1),
                fetchOffset: offset(position),
                lastFetchedEpoch: leaderEpoch(-1),
                logStartOffset: offset(-1),
                partitionMaxBytes: 1 << 20,
                replicaDirectoryId: NO_TOPIC_ID,
                highWatermark: 0x7fff_ffff_ffff_ffffn,
              },
            ],
          },
        ],
        forgottenTopicsData: [],
        rackId: "",
      });
      const part = responses[0]?.partitions[0];
      if (part === undefined || part.errorCode !== ErrorCode.NONE)
        throw new Disconnected(errorFacts(part?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR).name);
      if (position >= part.highWatermark) return letters;
      for (const batch of (part.records ?? []).flatMap((chunk) => [...wholeBatchesIn(chunk)])) {
        for (const record of batch.isControl ? [] : recordsIn(batch, inflatedBytesMax))
          if (record.offset >= position && record.value !== null)
            letters.push(Buffer.from(record.value).toString());
        position = batch.lastOffset + 1;
      }
    }
  } finally {
    client.close();
  }
}
