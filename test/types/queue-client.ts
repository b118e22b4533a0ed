/**
 * What must and must not compile of the client's queues, as users import them: a line below `@ts-expect-error` that would
 * compile is an error of `tsc -p .`.
 */
import {
  type AcknowledgeError,
  type Client,
  type FoundLetter,
  type Message,
  Reject,
  type RedriveReport,
  type ShareHandle,
  type ShareRunOptions,
} from "../../src/entry/client.ts";

export async function rightUse(client: Client): Promise<void> {
  const queue = client.queue("mails", { deadLetters: true, partitions: 3, deliveriesMax: 5 });
  await queue.send("text");
  await queue.send(Buffer.from("bytes"));
  await queue.send({ key: null, value: null, headers: { trace: "1" } });
  await queue.work(async ({ value, deliveryCount, topicId }, { signal }) => {
    signal.throwIfAborted();
    if (value === null || deliveryCount > 3) throw new Reject("no text");
    await queue.send(`${topicId} ${value.toString("utf8")}`);
  });
  await using once = client.once({ topic: "done", id: (message) => String(message.key) });
  await queue.work(once.handler((message, { send }) => send({ topic: "out", value: message.value })));
  const report: RedriveReport = await queue.deadLetters.redrive({ reason: /time/, dryRun: true });
  for await (const letter of queue.deadLetters.read({ settled: true })) settledOf(letter);
  const told: Record<string, number> = report.redriven;
  for await (const message of client.shareConsumer({ group: "g", topic: ["a", "b"] })) await message.accept();
  void told;
}

const settledOf = (letter: FoundLetter): "redriven" | "dropped" | null => letter.settled;

export const fates: readonly AcknowledgeError["fate"][] = ["not-acknowledged", "unknown"];
export const returnsAnything: ShareHandle = () => 7;
export const delays: ShareRunOptions = { retryDelayMs: (deliveryCount) => deliveryCount * 1_000 };

export function wrongUse(client: Client, message: Message): void {
  const queue = client.queue("mails");
  // @ts-expect-error: objects are not made into text by themselves.
  void queue.send({ to: "ann@example.org" });
  // @ts-expect-error: neither are numbers.
  void queue.send(7);
  // @ts-expect-error: the queue says which topic.
  void queue.send({ topic: "other", value: "text" });
  // @ts-expect-error: the queue's options say neither group nor topic twice.
  client.queue("mails", { topic: "other" });
  // @ts-expect-error: false is no topic for dead letters; leave it out.
  client.queue("mails", { deadLetters: false });
  // @ts-expect-error: a worker belongs to a group.
  client.shareConsumer({ topic: "mails" });
  // @ts-expect-error: share groups know no regular expressions.
  client.shareConsumer({ group: "g", topic: /mails/ });
  // @ts-expect-error: what was delivered is not written into.
  message.value = null;
  // @ts-expect-error: a value may be null.
  message.value.toString();
  // @ts-expect-error: an accepted message does not wait.
  void message.accept({ delayMs: 1_000 });
  // @ts-expect-error: once needs to know where ids are kept.
  client.once({});
  // @ts-expect-error: dropped letters go nowhere.
  void client.deadLetters("dead").drop({ to: "orders" });
  // @ts-expect-error: a handler outside of once sends by a producer of its own.
  void queue.work((_message, { send }) => send({ topic: "out", value: null }));
}
