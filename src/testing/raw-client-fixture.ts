/** Requests to a test broker as they are on the wire, for tests that must know what was sent and answered. */
import { NO_TOPIC_ID, partitionIndex, producerEpoch, producerId } from "../base/ids.ts";
import { tcp } from "../io/tcp.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { Metadata } from "../protocol/messages/metadata.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { buildBatch, type NewRecord } from "../record/builder.ts";
import { SimClient } from "../sim/client.ts";

/** The last version in which a topic is called by its name. */
const produceVersion = 12;

export async function connect(broker: { readonly port: number }): Promise<SimClient> {
  const address = { host: "127.0.0.1", port: broker.port };
  return SimClient.over(await tcp.dial(address, { timeoutMs: 2_000 }), "raw");
}

/** Resolves with the offset of an acknowledged record; rejects with `Disconnected`, or with the broker's refusal. */
export async function produce(
  client: SimClient,
  topic: string,
  record: NewRecord,
  options: {
    readonly partition?: number;
    readonly producer?: { readonly id: number; readonly sequence: number };
  } = {},
): Promise<number> {
  const { partition = 0, producer } = options;
  const batch = buildBatch(
    [{ timestamp: 1_700_000_000_000, ...record }],
    producer === undefined
      ? {}
      : {
          producerId: producerId(producer.id),
          producerEpoch: producerEpoch(0),
          baseSequence: producer.sequence,
        },
  );
  const answer = await client.call(Produce, produceVersion, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 5_000,
    topicData: [
      {
        name: topic,
        topicId: NO_TOPIC_ID,
        partitionData: [{ index: partitionIndex(partition), records: [batch] }],
      },
    ],
  });
  const result = answer.responses[0]?.partitionResponses[0];
  if (result?.errorCode !== ErrorCode.NONE) {
    throw new Error(`refused: ${result === undefined ? "no answer" : errorFacts(result.errorCode).name}`);
  }
  return result.baseOffset;
}

export async function initProducer(client: SimClient): Promise<number> {
  const answer = await client.call(InitProducerId, InitProducerId.versions[1], {
    transactionalId: null,
    transactionTimeoutMs: 60_000,
    producerId: producerId(-1),
    producerEpoch: producerEpoch(-1),
  });
  return answer.producerId;
}

/** Asks for metadata of every topic; resolves with their names. */
export async function topicNames(client: SimClient): Promise<readonly (string | null)[]> {
  const answer = await client.call(Metadata, Metadata.versions[1], {
    topics: null,
    allowAutoTopicCreation: false,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  });
  return answer.topics.map(({ name }) => name);
}
