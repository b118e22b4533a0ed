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
      from: "        if (batch.count > 0) target.append(session, BatchView.at(bytesOfLetters(batch, null)), wallMs);",
      to: `        const bytes = session === null ? [] : bytesOfLetters(batch, null);
        services.env.clock.schedule(2_000, () => {
          if (services.partitions.failure !== null) return;
          const later = services.partitions.begin();
          if (batch.count > 0) target.append(later, BatchView.at(bytes as Uint8Array), wallMs);
          later.commit();
        });`,
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
