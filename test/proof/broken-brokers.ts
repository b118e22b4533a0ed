/**
 * Brokers with one broken rule of transactions each: the simulation runs on a copy of the sources that
 * is changed in one place, and must fail.
 */
import { type Change, runBroken } from "./broken-copy.ts";

const transactions = "broker/transactions.ts";
const shard = "coordinator/transaction/shard.ts";

export const brokenBrokers = {
  "markers before the intention": [
    {
      file: transactions,
      from: "this.run(id, (shard, turn) => shard.end(turn, claim, { ...request, freshProducerId }), toldElsewhere);",
      to: "this.#markFirst(id, request.outcome).then(() => this.run(id, (shard, turn) => shard.end(turn, claim, { ...request, freshProducerId }), toldElsewhere));",
    },
    {
      file: transactions,
      from: "  async #freshIdFor(",
      to: `  async #markFirst(id: string, outcome: "commit" | "abort"): Promise<void> {
    const known = this.#shardOf(id)?.transaction(id);
    if (known?.isOpen !== true) return;
    const wish = { ...known.value, coordinatorEpoch: 0, outcome };
    for (const { topic, partitionIds } of known.value.partitions ?? []) {
      for (const partition of partitionIds) {
        this.mark({ topic, partition }, wish);
        await this.#options.wal.whenDurable(this.#options.wal.appended);
      }
    }
  }

  async #freshIdFor(`,
    },
  ],
  "what is prepared is forgotten at the start": [
    {
      file: shard,
      from: "  loaded(nowMs: number): void {",
      to: "  loaded(nowMs: number): void {\n    this.#prepared.clear();",
    },
  ],
  "an old epoch is accepted": [
    {
      file: shard,
      from: "if (claim.producerEpoch !== producerEpoch || producerEpoch > lastToldEpoch) {",
      to: "if (producerEpoch > lastToldEpoch) {",
    },
  ],
  "what is written to is not added": [
    {
      file: "broker/transactions/participation.ts",
      from: "const added = shard.admit(turn, claim, places);",
      to: "const added = shard.verify(claim, [])[0] ?? ErrorCode.NONE;",
    },
  ],
  "segments do not tell what was aborted": [
    {
      file: "log/partition-flush.ts",
      from: "aborted: view.transactions.abortedBetween(offset(Math.max(this.#flushedEnd, view.logStart)), to),",
      to: "aborted: [],",
    },
  ],
  "offsets are committed outside of their transaction": [
    {
      file: "broker/api/txn-offset-commit.ts",
      from: `groups.runIn(
      groupId,
      { producerId, producerEpoch },
      (shard, turn)`,
      to: `groups.run(
      groupId,
      (shard, turn)`,
    },
    {
      file: "broker/api/txn-offset-commit.ts",
      from: `      bytes,
    );
    const [outcome]`,
      to: `      (elsewhere) => elsewhere,
      bytes,
    ).then((result) => ({ kind: "decided" as const, result }));
    const [outcome]`,
    },
  ],
} as const satisfies { readonly [name: string]: readonly Change[] };
export type BrokenBroker = keyof typeof brokenBrokers;

/** What the simulation says of it, in its last lines. Throws when it finds nothing in these seeds. */
export async function judge(
  broken: BrokenBroker,
  { firstSeed, seeds }: { readonly firstSeed: number; readonly seeds: number },
): Promise<string> {
  const args = ["src/sim/main.ts", "--first", String(firstSeed), "--seeds", String(seeds)];
  const { code, told } = await runBroken(brokenBrokers[broken], args);
  if (code === 0)
    throw new Error(`${broken}: the simulation saw nothing in ${seeds} seeds from ${firstSeed} on`);
  if (!/^seed \d+ failed/m.test(told)) throw new Error(`${broken}: ${told}`);
  return told;
}
