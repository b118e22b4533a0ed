/**
 * @platformatic/kafka. A send is one request per broker and nothing collects records between sends; its
 * stream of messages belongs to a group, so it reads from a broker that has them.
 */
import { packageNamed, produceInLots, runClientProgram } from "./load.ts";

interface BaseOptions {
  readonly clientId: string;
  readonly bootstrapBrokers: readonly string[];
}

interface Producer {
  send(options: {
    readonly acks: -1;
    readonly messages: readonly {
      readonly topic: string;
      readonly partition: number;
      readonly value: Buffer;
    }[];
  }): Promise<unknown>;
}

interface Consumer {
  consume(options: {
    readonly topics: readonly string[];
    readonly mode: "earliest";
    readonly autocommit: false;
    readonly maxBytes: number;
    readonly maxBytesPerPartition: number;
    readonly highWaterMark: number;
  }): Promise<{
    on(event: "data", take: (message: { readonly value: Buffer | null }) => void): void;
  }>;
}

const { Producer, Consumer } = packageNamed("@platformatic/kafka") as {
  readonly Producer: new (options: BaseOptions & { readonly idempotent: true }) => Producer;
  readonly Consumer: new (options: BaseOptions & { readonly groupId: string }) => Consumer;
};

await runClientProgram({
  produce: async (task) => {
    const { address, topic } = task;
    const producer = new Producer({ clientId: "bench", bootstrapBrokers: [address], idempotent: true });
    await produceInLots(task, (records) =>
      producer.send({
        acks: -1,
        messages: records.map(({ partition, value }) => ({ topic, partition, value })),
      }),
    );
  },
  consume: async ({ address, topic, partitionCount, setting, count }) => {
    const consumer = new Consumer({
      clientId: "bench",
      bootstrapBrokers: [address],
      groupId: `bench-${process.pid}`,
    });
    const maxBytesPerPartition = (setting.batchKb ?? 1000) * 1000;
    const stream = await consumer.consume({
      topics: [topic],
      mode: "earliest",
      autocommit: false,
      maxBytes: maxBytesPerPartition * partitionCount,
      maxBytesPerPartition,
      highWaterMark: setting.highWaterMark ?? 1024,
    });
    let seen = 0;
    stream.on("data", ({ value }) => {
      seen += value?.length ?? 0;
      count(1);
    });
  },
});
