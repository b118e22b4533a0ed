/**
 * kcat as writer and reader. It has one codec per process, so a writer runs one process per partition at a
 * time, and takes keys and values as text between separators.
 */
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { finish, type Running, start } from "../../tools/processes.ts";
import { kcat } from "../../tools/toolbox.ts";
import { codecs, type DataRecord, Digests, kcatHeaders, recordsOf } from "./data-set.ts";
import { expectRunning, expectSuccess, header, type Reader, textOf, type Writer } from "./exchange.ts";

const keySeparator = 0x1f;
const recordSeparator = 0x1e;

export function kcatClient(): Writer & Reader {
  const settings = ["-E", "-q", "-X", "broker.address.family=v4", "-X", "reconnect.backoff.max.ms=500"];
  return {
    client: "kcat (librdkafka)",
    version: "1.7.1 (2.0.2)",
    language: "C",
    dress: "kcat",
    partitionCount: 5,
    write: async ({ address, topic, set, timeoutMs, onProgress }) => {
      const program = await kcat();
      const open = new Map<number, { codec: number; input: PassThrough; running: Running }>();
      const closeAll = async (): Promise<void> => {
        for (const { input } of open.values()) input.end();
        for (const { running } of open.values()) expectSuccess("kcat -P", await running.ended);
        open.clear();
      };
      const headers = kcatHeaders.flatMap(({ name, value }) => ["-H", `${textOf(name)}=${textOf(value)}`]);
      let count = 0;
      for await (const record of recordsOf(set)) {
        const { partition, codec } = record;
        if ((open.get(partition)?.codec ?? codec) !== codec) await closeAll();
        let lane = open.get(partition);
        if (lane === undefined) {
          const input = new PassThrough({ highWaterMark: 1 << 20 });
          const args = [
            "-P",
            "-b",
            address,
            "-t",
            topic,
            "-p",
            String(partition),
            "-z",
            codecs[codec] ?? "none",
            "-Z",
          ];
          const delimiters = ["-K", "\\x1f", "-D", "\\x1e", ...headers];
          const safe = [
            "-X",
            "enable.idempotence=true",
            "-X",
            "queue.buffering.max.messages=2000",
            "-X",
            "linger.ms=5",
          ];
          lane = {
            codec,
            input,
            running: start(program, [...args, ...delimiters, ...settings, ...safe], { input, timeoutMs }),
          };
          open.set(partition, lane);
        }
        if (!lane.input.write(kcatLine(record))) {
          await Promise.race([
            once(lane.input, "drain"),
            lane.running.ended.then((ended) => expectRunning("kcat -P", ended)),
          ]);
        }
        count += 1;
        if (count % 500 === 0) onProgress(count);
      }
      await closeAll();
    },
    read: async ({ address, topic, set, timeoutMs, onProgress }) => {
      const program = await kcat();
      // kcat prints headers as text between commas: the binary ones of the Java and Go sets are not for it.
      const withHeaders = set.dress !== "rich";
      const digests = new Digests(set.partitionCount, { withHeaders });
      let count = 0;
      for (let partition = 0; partition < set.partitionCount; partition += 1) {
        const parser = kcatParser((record) => {
          digests.add(partition, record);
          count += 1;
          if (count % 500 === 0) onProgress(count);
        });
        const format = withHeaders ? "%K,%S,%h\\n%k%s" : "%K,%S,\\n%k%s";
        const args = [
          "-C",
          "-b",
          address,
          "-t",
          topic,
          "-p",
          String(partition),
          "-o",
          "beginning",
          "-e",
          "-f",
          format,
        ];
        await finish(program, [...args, ...settings, "-X", "check.crcs=true"], {
          timeoutMs,
          onBytes: parser.push,
        });
        parser.end();
      }
      return { partitions: digests.end(), withHeaders };
    },
  };
}

function kcatLine({ key, value }: DataRecord): Buffer {
  return Buffer.concat([
    ...(key === null ? [] : [key, Buffer.from([keySeparator])]),
    value ?? Buffer.alloc(0),
    Buffer.from([recordSeparator]),
  ]);
}

/** Reads `key length,value length,headers\n` and then that many bytes of key and value, again and again. */
function kcatParser(onRecord: (record: Pick<DataRecord, "key" | "value" | "headers">) => void): {
  push: (bytes: Buffer) => void;
  end: () => void;
} {
  let pieces: Buffer[] = [];
  let held = 0;
  let needed = 1;
  const parse = (): void => {
    const bytes = Buffer.concat(pieces, held);
    let at = 0;
    for (;;) {
      const lineEnd = bytes.indexOf(0x0a, at);
      needed = bytes.length - at + 1;
      if (lineEnd === -1) break;
      const [keyLength = "", valueLength = "", ...headerParts] = bytes
        .toString("latin1", at, lineEnd)
        .split(",");
      const keyEnd = lineEnd + 1 + Math.max(0, Number(keyLength));
      const valueEnd = keyEnd + Math.max(0, Number(valueLength));
      needed = valueEnd - at;
      if (valueEnd > bytes.length) break;
      onRecord({
        key: keyLength === "-1" ? null : bytes.subarray(lineEnd + 1, keyEnd),
        value: valueLength === "-1" ? null : bytes.subarray(keyEnd, valueEnd),
        headers: headerParts.filter((part) => part !== "").map((part) => header(part, "=")),
      });
      at = valueEnd;
    }
    pieces = [Buffer.from(bytes.subarray(at))];
    held = bytes.length - at;
  };
  return {
    push: (bytes) => {
      pieces.push(bytes);
      held += bytes.length;
      if (held >= needed) parse();
    },
    end: () => {
      if (held > 0) throw new Error(`kcat's output ends within a record, ${held} bytes left`);
    },
  };
}
