/**
 * Other people's clients, and our own, as writers and readers, each with idempotence on, where a small program
 * in the client's language does the work. All these programs have the same arguments and print the same lines:
 *
 *   produce ADDRESS TOPIC FILE PARTITIONS   "progress N" now and then, "acked N" at the end
 *   consume ADDRESS TOPIC PARTITIONS        "progress N" now and then, "partition P COUNT SHA256" at the end
 *   tour ADDRESS TOPIC                      with the client's default settings and its own admin client: creates
 *                                           the topic with a setting, sees both, writes three records, sees the
 *                                           end offsets, deletes it and sees it gone
 *
 * Each checks that acknowledged and read offsets are dense from 0, since the topic was empty.
 */
import { type Ended, finish } from "../../tools/processes.ts";
import type { KafkaClientVersion } from "../../tools/toolbox.ts";
import { javaHeap } from "./console-tools.ts";
import type { Dress } from "./data-set.ts";
import type { Exchange, Reader, Tourist, Writer } from "./exchange.ts";
import {
  confluentProgram,
  franzGoProgram,
  holdfastProgram,
  javaProgramOf,
  kafkaJsProgram,
  kafkaPythonProgram,
  platformaticProgram,
  type ProgramClient,
  saramaProgram,
} from "./programs.ts";

export interface WireClient extends Writer, Reader, Tourist {}

export function javaClient(version: KafkaClientVersion): Writer & Reader {
  return exchanging(javaProgramOf(version, javaHeap), "rich");
}

export function franzGo(): WireClient {
  return exchanging(franzGoProgram, "rich");
}

export function sarama(): WireClient {
  return exchanging(saramaProgram, "rich");
}

export function confluentPython(): WireClient {
  return exchanging(confluentProgram, "rich");
}

export function kafkaPython(): WireClient {
  // It refuses null as the value of a header.
  return exchanging(kafkaPythonProgram, "map");
}

export function kafkaJs(): Omit<WireClient, "read"> {
  const remark = "It reads in a consumer group only, so it writes here and others read.";
  return { ...exchanging(kafkaJsProgram, "map"), remark };
}

export function platformatic(): WireClient {
  const remark = "Its streams need a consumer group; it reads with `Consumer.fetch`, which needs none.";
  return { ...exchanging(platformaticProgram, "map"), remark };
}

/** Our own client. */
export function holdfast(): WireClient {
  return exchanging(holdfastProgram(), "rich");
}

function exchanging({ client, program }: ProgramClient, dress: Dress): WireClient {
  const launch = async (
    args: readonly string[],
    exchange: Pick<Exchange, "timeoutMs" | "onProgress">,
  ): Promise<Ended> => {
    const { command, env } = await program();
    const [name, ...first] = command;
    return finish(name, [...first, ...args], {
      timeoutMs: exchange.timeoutMs,
      ...(env === undefined ? {} : { env }),
      onLine: (line) => {
        if (line.startsWith("progress ")) exchange.onProgress(Number(line.slice(9)));
      },
    });
  };
  return {
    ...client,
    dress,
    partitionCount: 5,
    tour: async (address, topic, timeoutMs) => {
      await launch(["tour", address, topic], { timeoutMs, onProgress: () => undefined });
    },
    write: async (exchange) => {
      const { address, topic, set } = exchange;
      const { stdout } = await launch(
        ["produce", address, topic, set.path, String(set.partitionCount)],
        exchange,
      );
      if (!stdout.includes(`acked ${set.recordCount}\n`))
        throw new Error(`Not all of ${set.recordCount} records were acknowledged`);
    },
    read: async (exchange) => {
      const { address, topic, set } = exchange;
      const { stdout } = await launch(["consume", address, topic, String(set.partitionCount)], exchange);
      const partitions = [...stdout.matchAll(/^partition \d+ (\d+) ([0-9a-f]{64})$/gm)];
      return {
        partitions: partitions.map((match) => ({ count: Number(match[1]), sha256: match[2] ?? "" })),
        withHeaders: true,
      };
    },
  };
}
