/**
 * The cluster's rooms with one broken rule of fencing each: the schedules of takeover.ts run on a changed copy of
 * the sources, and must find it. The first eighteen are the alternatives that a model checker killed when the
 * protocols were designed, under the names that they have there.
 *
 *   node test/proof/broken-take-overs.ts [NAME] [SCHEDULES]
 */
import { type Change, runBroken } from "./broken-copy.ts";

const patienceMs = Number(process.env["HOLDFAST_PATIENCE_MS"] ?? 300_000);

const wal = "log/object-wal.ts";
const seal = "log/object-wal-seal.ts";
const apply = "metadata/apply.ts";
const takeOver = "broker/cluster/take-over.ts";
const ownership = "broker/cluster/ownership.ts";
const moves = "broker/cluster/moves.ts";
const barrier = "broker/cluster/barrier.ts";

const scanFrom = (before: string, isEnd: string): Change => ({
  file: seal,
  from: "  // The writer is at most this far ahead of what a list can show; a seal ahead of it is a wall.\n",
  to: `  ${before}
  for (let slot: number = wal.released; slot >= 0; slot++) {
    const body = await read(wal.store, slotKey(wal.epoch, slot), wal.ports);
    if (${isEnd}) return walPosition(slot);
  }
`,
});

export const brokenTakeOvers = {
  // A slot is acknowledged when it is durable, whatever is with those before it.
  ackOutOfOrder: [
    {
      file: wal,
      from: "    slot.isDecided = true;\n",
      to: "    for (const each of this.#sent) if (each.number <= slot.number) each.isDecided = true;\n",
    },
  ],
  // What stands in our slot is ours.
  "412isMine": [
    { file: wal, from: 'if (created.kind === "mine") this.#decided', to: "if (created) this.#decided" },
  ],
  // A log ends where nothing is found.
  endFromList: [scanFrom("void hint;", "body === null")],
  // One seal ahead of the writer is enough, and the log ends at the first gap below it.
  sealAheadOnly: [
    scanFrom(
      "await isSealed(wal, hint + 1 + 2 * lanesDefault);",
      'body === null || decodeSlot({ clusterId: wal.clusterId, epoch: wal.epoch, slot }, body).kind === "seal"',
    ),
  ],
  // The seal goes with what it ended.
  gcSeal: [
    {
      file: seal,
      from: "if (slot === null || slot === sealedAt) continue;\n    if (slot < below || (sealedAt !== null && slot > sealedAt)) keys.push(key);",
      to: "if (slot !== null && (slot < below || sealedAt === null || slot >= sealedAt)) keys.push(key);",
    },
  ],
  // Sealed by an old view of what was released, and fenced afterwards.
  noFence: [
    {
      file: takeOver,
      from: 'if (this.#statusOf(epoch) === "live") await journal.append({ kind: "fence", epoch });',
      to: "void journal;",
    },
    {
      file: takeOver,
      from: 'return this.#statusOf(epoch) === "fenced" && (await this.#sealAndRecord(epoch));',
      to: "return await this.#sealAndRecord(epoch);",
    },
    // What was read beside the fence would not be sealed over when it is deleted meanwhile.
    {
      file: takeOver,
      from: "reading.readAhead(epoch, journal.state.brokers.get(epoch)?.released ?? walPosition(0));",
      to: "",
    },
    {
      file: apply,
      from: 'if (broker?.status !== "fenced") return "epoch-not-fenced";',
      to: 'if (broker === undefined || broker.status === "sealed") return "epoch-not-fenced";',
    },
    { file: apply, from: 'if (command.end < broker.released) return "below-released";', to: "" },
  ],
  // Served as soon as the log of the dead broker is read, and recorded later.
  serveBeforeRecord: [
    {
      file: takeOver,
      from: "ownership.remember(epoch, released, dead);",
      to: "ownership.remember(epoch, released, dead);\n    await (ownership as Ownership).serveEarly(epoch, released, end, dead);",
    },
    {
      file: ownership,
      from: "  forget(epoch: BrokerEpoch): void {",
      to: `  readonly #early = new Set<Partition>();
  async serveEarly(epoch: BrokerEpoch, from: WalPosition, to: WalPosition, dead: DeadEntries): Promise<void> {
    const { journal, partitions } = this.#options;
    const wanted: Wanted[] = [];
    for (const topic of journal.state.topics.values()) {
      for (const partition of topic.partitions) {
        if (partition.owner !== epoch || partition.dependencies.length > 0) continue;
        if (partitions.get(topic.id, partition.index) !== undefined) continue;
        const leaderEpoch = (partition.leaderEpoch + 1) as typeof partition.leaderEpoch;
        wanted.push({ topic, partition: { ...partition, leaderEpoch, dependencies: [{ epoch, from, to }] } });
      }
    }
    const wals = new Map([[epoch, dead]]);
    const opened = await openPartitions(wanted, wals, journal.state, { ...this.#options, log: this.#options.env.log });
    loadEntries(opened, wals, journal.state, partitions);
    for (const partition of opened.values()) {
      if (partition.isClosed) continue;
      this.#early.add(partition);
      partitions.serve(partition);
    }
  }
  forget(epoch: BrokerEpoch): void {`,
    },
    {
      file: ownership,
      from: "  #isOurs({ topicId, partition, leaderEpoch }: Partition): boolean {\n",
      to: `  #isOurs(given: Partition): boolean {
    const { topicId, partition, leaderEpoch } = given;
    const known = this.#options.journal.state.topics.get(topicId)?.partitions[partition];
    if (this.#early.has(given) && known !== undefined && known.leaderEpoch < leaderEpoch) return true;
`,
    },
  ],
  // A second record of one take-over counts, too.
  recoverTwice: [
    {
      file: apply,
      from: 'if (broker?.status !== "fenced") return "epoch-not-fenced";',
      to: 'if (broker === undefined || broker.status === "live") return "epoch-not-fenced";',
    },
    {
      file: apply,
      from: "if (partition.owner !== broker.epoch) return;",
      to: "const isTaken = partition.dependencies.some(({ epoch }) => epoch === broker.epoch);\n      if (partition.owner !== broker.epoch && !isTaken) return;",
    },
  ],
  // Records are taken over, and who wrote them is not.
  noDedup: [
    {
      file: "log/partition.ts",
      from: "    this.#take(loaded);\n",
      to: "    this.#logEnd = loaded.end;\n    this.#appendedBytes += loaded.payload.byteLength;\n    this.#tail.push(loaded);\n",
    },
  ],
  // A segment is published before the store has it.
  publishEarly: [
    {
      file: "log/object-writer.ts",
      from: "const outcome = await store.putIfAbsent(key, content.chunks, content.length);",
      to: 'void store.putIfAbsent(key, content.chunks, content.length).catch(() => undefined);\n      const outcome = "created" as string;',
    },
  ],
  // What was sent is released, durable or not.
  releaseSent: [
    { file: wal, from: "    return walPosition(this.#position);", to: "    return walPosition(this.#next);" },
    {
      file: wal,
      from: '    assert(below <= this.#position, "only durable positions are released");\n',
      to: "",
    },
  ],
  // What nobody refers to is garbage, also while its author lives.
  gcLiveOrphan: [
    {
      file: "metadata/unneeded.ts",
      from: 'status === "live" ? below : Number.POSITIVE_INFINITY',
      to: "Number.POSITIVE_INFINITY + 0 * below",
    },
  ],
  // What an owner prepared in an earlier stay of a partition counts in a later one. Two rules keep that out, and
  // both are broken here: a move waits for a flush that is under way as well, and does no harm where it does not.
  noLeaderEpoch: [
    {
      file: apply,
      from: 'return partition.leaderEpoch === epoch ? null : "leader-epoch";',
      to: "void epoch;\n  return null;",
    },
    {
      file: moves,
      from: "this.#options.flusher.exclusive(() => this.#move(planned))",
      to: "this.#move(planned)",
    },
    { file: "log/flush.ts", from: "const voidsMax = 3;", to: "const voidsMax = 1_000;" },
  ],
  // Appends go on while a partition is given away.
  writeWhileMoving: [
    { file: moves, from: "partitions.pause(partition);", to: "void partition;" },
    {
      file: moves,
      from: "if (this.#stays(partition)) partitions.resume(partition);\n      return 0;",
      to: "void partition;\n      return 0;",
    },
    {
      file: moves,
      from: "if (this.#stays(partition)) partitions.resume(partition);\n    const moved",
      to: "void partition;\n    const moved",
    },
  ],
  // A partition is given away before what was appended to it is durable.
  moveUndurable: [{ file: moves, from: "await this.#whenDurable(wal.appended)", to: "true" }],
  // A broker believes that it owns what it owned.
  noBarrier: [
    {
      file: barrier,
      from: "if (this.#replaced !== null) return Promise.reject(this.#replaced);\n",
      to: "if (mark > -Infinity) return undefined;\n",
    },
  ],
  // A slot that was sent before the question proves it, too.
  oldSlotBarrier: [{ file: barrier, from: ": wal.sentEnd;", to: ": wal.durablePosition;" }],
  // An own slot proves it also for a partition that is on its way to somebody else.
  slotBarrierInMove: [
    { file: barrier, from: "return isMoving() ?", to: "return isMoving() && wal.sentEnd < 0 ?" },
  ],
  // Found here while the rooms were built: a partition that is still loading is asked what is to be flushed.
  flushWhileLoading: [
    {
      file: "log/partitions.ts",
      from: "if (partition.isServing) yield partition;",
      to: "if (!partition.isClosed) yield partition;",
    },
  ],
  // The same: of what was asked during a move, a slot that left after it is taken for a proof.
  markedInMove: [
    {
      file: barrier,
      from: "return isMoving() ? -1 - this.#moves : wal.sentEnd;",
      to: "void isMoving;\n    return wal.sentEnd;",
    },
    {
      file: barrier,
      from: "if (mark >= 0 && this.#options",
      to: "if (!this.#options.isMoving() && mark >= 0 && this.#options",
    },
  ],
} as const satisfies { readonly [name: string]: readonly Change[] };
export type BrokenTakeOver = keyof typeof brokenTakeOvers;

export interface Caught {
  readonly seed: number;
  readonly sentence: string;
}

/** How the schedules found it. Throws when they find nothing. */
export async function judge(
  broken: BrokenTakeOver,
  { firstSeed, schedules }: { readonly firstSeed: number; readonly schedules: number },
): Promise<Caught> {
  const args = ["test/proof/takeover.ts", String(schedules), String(firstSeed)];
  const { told } = await runBroken(brokenTakeOvers[broken], args, patienceMs);
  const found = /^✗ seed (\d+): (.*)$/m.exec(told);
  if (found === null)
    throw new Error(`${broken}: nothing in ${schedules} schedules from ${firstSeed} on; ${told}`);
  return { seed: Number(found[1]), sentence: found[2] as string };
}

if (import.meta.main) {
  const [name, schedules = "20000"] = process.argv.slice(2);
  for (const broken of Object.keys(brokenTakeOvers) as BrokenTakeOver[]) {
    if (name !== undefined && name !== "all" && name !== broken) continue;
    try {
      const { seed, sentence } = await judge(broken, { firstSeed: 1, schedules: Number(schedules) });
      console.log(`${broken}: in schedule ${seed}: ${sentence}`);
    } catch (error) {
      console.log(`${broken}: NOT FOUND ${(error as Error).message.slice(0, 300)}`);
      process.exitCode = 1;
    }
  }
}
