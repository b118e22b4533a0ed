/**
 * KafkaJS. Its idempotent producer keeps order with one send per partition at a time; its consumer needs a
 * group, so it reads from a broker that has them.
 */
import { packageNamed, produceInLots, runClientProgram } from "./load.ts";

interface Producer {
  connect(): Promise<void>;
  send(options: {
    readonly topic: string;
    readonly acks: -1;
    readonly messages: readonly { readonly partition: number; readonly value: Buffer }[];
  }): Promise<unknown>;
}

interface Consumer {
  connect(): Promise<void>;
  subscribe(options: { readonly topic: string; readonly fromBeginning: true }): Promise<void>;
  run(options: {
    readonly autoCommit: false;
    readonly partitionsConsumedConcurrently: number;
    readonly eachBatch: (payload: {
      readonly batch: { readonly messages: readonly { readonly value: Buffer | null }[] };
    }) => Promise<void>;
  }): Promise<void>;
}

const { Kafka } = packageNamed("kafkajs") as {
  readonly Kafka: new (options: {
    readonly clientId: string;
    readonly brokers: readonly string[];
    readonly logLevel: number;
  }) => {
    producer(options: { readonly idempotent: true; readonly maxInFlightRequests: number }): Producer;
    consumer(options: {
      readonly groupId: string;
      readonly maxBytesPerPartition: number;
      readonly maxBytes: number;
    }): Consumer;
  };
};

const kafkaOf = (address: string) => new Kafka({ clientId: "bench", brokers: [address], logLevel: 1 });

await runClientProgram({
  produce: async (task) => {
    const maxInFlightRequests = task.setting.workers ?? 1;
    const producer = kafkaOf(task.address).producer({ idempotent: true, maxInFlightRequests });
    await producer.connect();
    await produceInLots(task, (messages) => producer.send({ topic: task.topic, acks: -1, messages }));
  },
  consume: async (task) => {
    const consumer = kafkaOf(task.address).consumer({
      groupId: `bench-${process.pid}`,
      maxBytesPerPartition: (task.setting.batchKb ?? 1000) * 1000,
      maxBytes: (task.setting.batchKb ?? 1000) * 1000 * task.partitionCount,
    });
    await consumer.connect();
    await consumer.subscribe({ topic: task.topic, fromBeginning: true });
    let seen = 0;
    await consumer.run({
      autoCommit: false,
      partitionsConsumedConcurrently: task.setting.partitionsAtOnce ?? 1,
      eachBatch: async ({ batch }) => {
        for (const { value } of batch.messages) seen += value?.length ?? 0;
        task.count(batch.messages.length);
      },
    });
  },
});
