/**
 * `holdfast produce`: sends records and says of each what became of it. Its promise is its exit code: 0 only
 * when every record was acknowledged. It stops at the first that fails, so that what follows can be sent again
 * from there, and after Ctrl-C waits for what is under way.
 */
import type { RecordMetadata } from "../../client/records.ts";
import { type ConnectionOptions, connect, newTopicTimeoutMs } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { Delivery } from "../delivery.ts";
import type { ExitCode } from "../exit-codes.ts";
import { lineBytesMax } from "../lines.ts";
import { type Outgoing, type OutgoingOptions, openSource, type Source } from "../outgoing.ts";
import { TopicNews } from "../topic-news.ts";
import { type InputEnd, reportFor, verdict } from "../produce-report.ts";
import { StallNotice } from "../stall-notice.ts";
import type { Terminal } from "../terminal.ts";
import { parseDuration } from "../time-text.ts";
import { UsageError } from "../usage-error.ts";

export interface ProduceOptions extends ConnectionOptions, OutgoingOptions {
  readonly compression?: CompressionName;
  readonly compressionCodec?: CompressionName;
  readonly timeout?: string;
  readonly json?: boolean;
}
type CompressionName = "none" | "gzip" | "snappy" | "lz4" | "zstd";

const timeoutMsDefault = 30_000;

export async function produce({ terminal, args, options }: Invocation<ProduceOptions>): Promise<ExitCode> {
  const [topic = "", ...values] = args;
  const source = openSource(values, options, terminal.stdin, Date.now());
  const deliveryTimeoutMs = options.timeout === undefined ? timeoutMsDefault : timeoutOf(options.timeout);
  const client = connect(options, terminal, { topicTimeoutMs: newTopicTimeoutMs });
  const producer = client.producer({
    compression: options.compression ?? options.compressionCodec ?? "none",
    deliveryTimeoutMs,
    createTopics: true,
    // What is too large is the broker's to say: each topic has its own max.message.bytes.
    recordBytesMax: lineBytesMax,
    bufferBytes: 2 * lineBytesMax,
  });
  let abandoned = false;
  try {
    const news = await TopicNews.before(client, topic);
    const report = reportFor(terminal, options, source);
    const delivery = new Delivery({
      acknowledged: (acknowledged) => report.acknowledged(acknowledged),
      failed: () => terminal.stdin.stop(),
    });
    if (source.unit === "Line" && terminal.stdin.isTTY && terminal.stderr.isTTY) {
      await terminal.stderr.write("Each line is a record; Ctrl-D ends.\n");
    }
    const stall = new StallNotice(terminal, delivery);
    const end = await sendAll(terminal, source, delivery, (record) => producer.send({ topic, ...record }));
    stall.stop();
    abandoned = delivery.underWay > 0;
    await report.summary(delivery);
    // Nobody is asked anything more when the broker has gone: what became of the records is what matters.
    if (delivery.acknowledged > 0 && delivery.failure === null && !abandoned) await news.tell(terminal);
    return await verdict(terminal, source, delivery, end, report.output.failure);
  } finally {
    // After a second Ctrl-C nothing is waited for any more.
    await producer.close(abandoned ? { timeoutMs: 0 } : {});
    await client.close();
  }
}

function timeoutOf(text: string): number {
  const ms = parseDuration(text);
  if (ms === null || ms === 0)
    throw new UsageError(`--timeout needs a duration such as 500ms, 30s or 2m, not "${text}".`);
  return ms;
}

/** A record that is larger is likely to be refused: what is behind it waits until that is known. */
const aloneBytes = 512 * 1024;

async function sendAll(
  terminal: Terminal,
  source: Source,
  delivery: Delivery,
  send: (record: Outgoing) => Promise<RecordMetadata>,
): Promise<InputEnd> {
  let interrupts = 0;
  const release = terminal.onInterrupt(() => {
    interrupts++;
    terminal.stdin.stop();
    // The second one: what is under way stays unknown, and is counted as that.
    if (interrupts > 1) delivery.abandon();
  });
  let broken: InputEnd | null = null;
  try {
    for await (const record of source.records()) {
      if (interrupts > 0 || delivery.hasFailed) break;
      const bytes = (record.key?.length ?? 0) + (record.value?.length ?? 0);
      delivery.give(bytes, send(record));
      if (bytes > aloneBytes) await delivery.finished();
      else if (delivery.isFull) await delivery.room();
    }
  } catch (error) {
    broken = { kind: "broken", error };
  }
  await delivery.finished();
  release();
  if (delivery.failure !== null) return { kind: "stopped" };
  return broken ?? { kind: interrupts > 0 ? "interrupted" : "whole" };
}
