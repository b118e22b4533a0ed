/**
 * Brokers with one broken rule of share groups each: the world of queues runs on a copy of the sources that is
 * changed in one place, and must fail.
 */
import { type Change, runBroken } from "./broken-copy.ts";

export const brokenQueues = {
  "an acknowledgement is answered before it is durable": [
    {
      file: "broker/share/share-request.ts",
      from: "      return { topicId, partition, errorCode: (await said.persisted) ?? said.errorCode };",
      to: `      said.persisted.catch(() => undefined);
      return { topicId, partition, errorCode: said.errorCode };`,
    },
  ],
  "what was locked at a restart stays locked for ever": [
    {
      file: "coordinator/share/delivery/table.ts",
      from: "this.#write([available(this.#endOffset, first - 1, 0)]);",
      to: `this.#write([{ ...available(this.#endOffset, first - 1, 1), state: "acquired" }]);`,
    },
  ],
  "a dead letter is written and its record not archived": [
    {
      file: "broker/share/dead-letters.ts",
      from: `    archive(batch.first, batch.last);
  }`,
      to: "  }",
    },
  ],
  "a record is archived and its dead letter written later": [
    {
      file: "broker/share/dead-letters.ts",
      from: "        const { kind } = target.append(session, BatchView.at(bytesOfLetters(batch, null)), wallMs);",
      to: `        const bytes = session === null ? [] : bytesOfLetters(batch, null);
        const kind = "appended" as string;
        services.env.clock.schedule(2_000, () => {
          if (services.partitions.failure !== null) return;
          const later = services.partitions.begin();
          target.append(later, BatchView.at(bytes as Uint8Array), wallMs);
          later.commit();
        });`,
    },
  ],
  "a record that comes again is told before its last delivery's end is durable": [
    {
      file: "broker/share/share-partition.ts",
      from: "isAgain(taken) ? settled : null",
      to: "isAgain(taken) && this.isOver ? settled : null",
    },
  ],
  "a record is delivered once more than the limit allows": [
    {
      file: "coordinator/share/delivery/table.ts",
      from: "if (range.deliveryCount >= this.#settings.deliveryCountLimit) return",
      to: "if (range.deliveryCount > this.#settings.deliveryCountLimit) return",
    },
    {
      file: "coordinator/share/delivery/table.ts",
      from: "if (range.deliveryCount >= limit)",
      to: "if (range.deliveryCount > limit)",
    },
  ],
  "a lock ends before its time": [
    {
      file: "coordinator/share/delivery/table.ts",
      from: "nowMs + this.#settings.lockDurationMs;\n    const lock =",
      to: "nowMs + this.#settings.lockDurationMs / 4;\n    const lock =",
    },
  ],
  "what was locked when its lock ran out is archived": [
    {
      file: "coordinator/share/delivery/table.ts",
      from: "count += this.#end(lock, (range) => this.#again(range));",
      to: `count += this.#end(lock, (range) => complete(range.first, range.last, "archived"));`,
    },
  ],
  "what is accepted at its last delivery is dead": [
    {
      file: "coordinator/share/delivery/table.ts",
      from: `return complete(range.first, range.last, "acknowledged");`,
      to: `return range.deliveryCount < this.#settings.deliveryCountLimit
          ? complete(range.first, range.last, "acknowledged")
          : this.#die(range, "expired");`,
    },
  ],
  "what may end its workers is given along with others": [
    {
      file: "broker/share/taking.ts",
      from: "    besides,\n",
      to: "    besides: besides?.deliveryCount === 0 ? besides : undefined,\n",
    },
  ],
} as const satisfies { readonly [name: string]: readonly Change[] };
export type BrokenQueue = keyof typeof brokenQueues;

/** What the world says of it, in its last lines. Throws when it finds nothing from this seed on. */
export async function judgeQueue(
  broken: BrokenQueue,
  { firstSeed, hours }: { readonly firstSeed: number; readonly hours: number },
): Promise<string> {
  const args = ["src/sim/share.ts", "--first", String(firstSeed), "--hours", String(hours)];
  const { code, told } = await runBroken(brokenQueues[broken], args);
  if (code === 0) throw new Error(`${broken}: the simulation saw nothing from seed ${firstSeed} on`);
  if (!/^seed \d+ failed/m.test(told)) throw new Error(`${broken}: ${told}`);
  return told;
}
