/** Our own client as writer and reader, as a user of `holdfast/client` has it. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import {
  createClient,
  type GroupConsumer,
  type GroupConsumerOptions,
  type Message,
  NoBrokerError,
  NotKafkaError,
  Reject,
} from "../../../src/entry/client.ts";
import { codecs } from "../data-set.ts";
import { tell } from "./membership.ts";
import { runWireProgram, tourSetting, writeRecords } from "./wire.ts";

class OnPurpose extends Error {}

await runWireProgram({
  produce: async (address, topic, path, acknowledged) => {
    await using client = createClient({ bootstrap: address, clientId: "interop" });
    const producers = codecs.map((compression) => client.producer({ compression, lingerMs: 5 }));
    await writeRecords(path, acknowledged, async ({ partition, codec, key, value, headers }) => {
      const sent = await producers[codec]?.send({
        topic,
        partition,
        key,
        value,
        headers: headers.map((header) => ({ key: header.name.toString(), value: header.value })),
      });
      return sent?.offset ?? -1;
    });
    for (const producer of producers) await producer.close();
  },

  consume: async (address, topic, gathered) => {
    await using client = createClient({ bootstrap: address, clientId: "interop" });
    const consumer = client.consumer({ topic, from: "start", until: "end" });
    for await (const { partition, offset, key, value, headers } of consumer) {
      const named = headers.map((header) => ({ name: Buffer.from(header.key), value: header.value }));
      gathered.add(partition, offset, { key, value, headers: named });
    }
    await consumer.close();
  },

  tour: async (address, topic) => {
    await using client = createClient({ bootstrap: address });
    const admin = client.admin();
    const { name, value: setting } = tourSetting;
    await admin.createTopic({ topic, partitions: 3, configs: { [name]: setting } });
    const isListed = async (): Promise<boolean> =>
      (await admin.listTopics()).some((listed) => listed.name === topic);
    assert.ok(await isListed());
    const [described] = await admin.describeConfigs([{ topic }], { keys: [name] });
    assert.equal(described?.entries[0]?.value, setting);
    const producer = client.producer();
    for (const value of ["one", "two", "three"]) await producer.send({ topic, value });
    const ends = await admin.listOffsets(
      [0, 1, 2].map((partition) => ({ topic, partition, at: "latest" as const })),
    );
    assert.equal(
      ends.reduce((sum, { offset }) => sum + offset, 0),
      3,
    );
    await admin.deleteTopic(topic);
    assert.ok(!(await isListed()));
  },

  member: async (told) => {
    const { address, topic, group, protocol, commitsAsync, sessionMs } = told;
    const owned = new Set<number>();
    await using client = createClient({ bootstrap: address, clientId: "interop" });
    const options: GroupConsumerOptions = {
      group,
      topic,
      autoCommit: false,
      ...(protocol === "consumer"
        ? ({ protocol: "consumer" } as const)
        : {
            protocol: "classic" as const,
            sessionTimeoutMs: sessionMs,
            heartbeatIntervalMs: sessionMs / 5,
            assignors: [protocol === "cooperative" ? ("cooperative-sticky" as const) : ("range" as const)],
          }),
      onAssigned: (added) => {
        for (const { partition } of added) owned.add(partition);
        told.owns(consumer.membership?.generation, owned);
      },
      onReleased: (released) => {
        for (const { partition } of released) owned.delete(partition);
      },
      onCommitFailed: (failure) => told.refused(failure),
    };
    const consumer: GroupConsumer = client.consumer(options);
    const closing = told.ending.then(() => consumer.close());
    for await (const { partition, records } of consumer.batches({ recordsMax: 100 })) {
      told.did(partition, records);
      const end = (records.at(-1)?.offset ?? -1) + 1;
      if (commitsAsync) consumer.commitAsync();
      else
        await consumer.commitSync().then(
          () => told.committed(partition, end),
          (refusal: unknown) => told.refused(refusal),
        );
    }
    await closing;
  },

  share: async (told) => {
    const { address, topic, group, isExplicit } = told;
    await using client = createClient({ bootstrap: address, clientId: "interop" });
    const worker = client.shareConsumer({
      group,
      topic,
      onAcknowledgeFailed: ({ partition, offset, fate, message }) =>
        told.refused({ partition, offset }, fate === "unknown" ? "unknown" : "state", message),
    });
    const closing = told.ending.then(() => worker.close());
    const say = async (message: Message): Promise<void> => {
      const word = told.got(message);
      // What fails is told by `onAcknowledgeFailed`.
      await message[word]().then(
        () => told.answered(word, message),
        () => undefined,
      );
    };
    const handle = async (message: Message): Promise<void> => {
      // Every other one is said by the handler itself, which hears the answer; else its end says it.
      if (message.offset % 2 === 0) return say(message);
      const word = told.got(message);
      if (word === "reject") throw new Reject("poison");
      if (word === "release") throw new OnPurpose();
    };
    const work = async (): Promise<void> => {
      if (!isExplicit) return worker.run(handle, { concurrency: 16, onFailed: () => undefined });
      for await (const message of worker) void say(message);
    };
    await work().catch(async function again(cause: unknown): Promise<void> {
      // Nobody was there, or nobody answered, when it began; who works already waits by itself.
      if (!(cause instanceof NoBrokerError || cause instanceof NotKafkaError)) throw cause;
      await sleep(200);
      return work().catch(again);
    });
    await closing;
  },

  copy: async (told) => {
    const { address, input, output, group, protocol, sessionMs, lot } = told;
    await using client = createClient({ bootstrap: address, clientId: "interop" });
    const producer = client.producer({
      transactionalId: told.transactionalId,
      transactionTimeoutMs: told.timeoutMs,
    });
    const consumer = client.consumer({
      group,
      topic: input,
      autoCommit: false,
      ...(protocol === "consumer"
        ? ({ protocol: "consumer" } as const)
        : {
            protocol: "classic" as const,
            sessionTimeoutMs: sessionMs,
            heartbeatIntervalMs: sessionMs / 5,
            assignors: [protocol === "cooperative" ? ("cooperative-sticky" as const) : ("range" as const)],
          }),
    });
    const closing = told.ending.then(() => consumer.close());
    for await (const { partition, records } of consumer.batches({ recordsMax: lot })) {
      const aborts = told.aborts();
      try {
        await producer.transaction(async (tx) => {
          await tx.commitOffsets(consumer);
          await tx.sendMany(records.map(({ key, value }) => ({ topic: output, partition, key, value })));
          await sleep(told.pauseMs);
          if (aborts) throw new OnPurpose();
        });
        told.committed(records.length, new Map([[partition, (records.at(-1)?.offset ?? -1) + 1]]));
      } catch (refusal) {
        // Whatever became of it, the consumer goes on where the group has committed.
        if ((refusal as Error).cause instanceof OnPurpose) told.aborted(records.length);
        else told.refused(refusal);
      }
    }
    await closing;
    await producer.close();
  },

  follow: async (address, topic) => {
    await using client = createClient({ bootstrap: address, clientId: "interop" });
    for await (const { partition, records } of client.consumer({ topic, from: "start" }).batches()) {
      tell(records.map(({ offset, value }) => `record ${partition} ${offset} ${String(value)}`).join("\n"));
    }
  },
});
