/**
 * The program under test: mails that are sent by workers, each in a process of its own that may die at any time. A mail
 * whose worker died is given to another; one that cannot be sent is rejected; one slow mail blocks nobody. Run as a
 * program it is one worker.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, createClient, type Producer, type Queue, Reject } from "holdfast/client";

export interface Mail {
  readonly to: string;
  readonly text: string;
}

/** Begins at the first mail, also at those that were ordered before a worker came. */
export const mailQueue = (client: Client): Queue => client.queue("mails");

export async function order(queue: Queue, mail: Mail): Promise<void> {
  await queue.send({ key: mail.to, value: JSON.stringify(mail) });
}

/** Works until the queue is closed. A mail may be sent twice when a worker dies behind the sending: at least once. */
export function work(queue: Queue, post: Producer, isClumsy = false): Promise<void> {
  return queue.work(
    async ({ value, deliveryCount }) => {
      const mail = JSON.parse(String(value)) as Mail;
      if (!mail.to.includes("@")) throw new Reject(`"${mail.to}" is no address`);
      // The first worker that has it in its hands dies of it.
      if (isClumsy && mail.text.includes("heavy") && deliveryCount === 1) process.exit(1);
      await sleep(5);
      await post.send({ topic: "sent", key: mail.to, value: mail.text });
    },
    { concurrency: 4, onFailed: ({ cause, fate }) => console.error(`${fate}: ${String(cause)}`) },
  );
}

if (import.meta.main) {
  const [bootstrap = "localhost:9092"] = process.argv.slice(2);
  await using client = createClient({ bootstrap });
  const queue = mailQueue(client);
  process.once("SIGTERM", () => void queue.close());
  await work(queue, client.producer(), true);
}
