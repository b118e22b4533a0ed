/**
 * The journal with one broken rule each: the proofs of agreement and of ownership run on a changed copy of the
 * sources, and must find it. The first nine are the alternatives that a model checker killed when the journal was
 * designed, under the names that they have there.
 *
 *   node test/proof/broken-journals.ts [NAME]
 */
import { type Change, runBroken } from "./broken-copy.ts";

interface Bug {
  /** Which proof must find it. */
  readonly proof: "journal-agree" | "journal-owners";
  /** It must be found within so many seeds. */
  readonly seeds: number;
  readonly changes: readonly Change[];
}

const journal = "metadata/journal.ts";
const replay = "metadata/replay.ts";
const truncation = "metadata/truncation.ts";
const apply = "metadata/apply.ts";
const partition = "metadata/partition.ts";
const create = "store/create.ts";

const bug = (proof: Bug["proof"], seeds: number, ...changes: readonly Change[]): Bug => ({
  proof,
  seeds,
  changes,
});

export const brokenJournals = {
  // Nobody looks for the cut marker after a write.
  noCheckWrite: bug("journal-agree", 300, {
    file: journal,
    from: "const cutEnd = await this.#replay.cutEnd(slot, slot);",
    to: "const cutEnd = 0;",
  }),
  // Nobody looks for it after reading slots.
  noCheckRead: bug("journal-agree", 300, {
    file: replay,
    from: "const cutEnd = await this.cutEnd(first, end);",
    to: "const cutEnd = found.length > 0 ? 0 : await this.cutEnd(first, first);",
  }),
  // The marker is looked for before the write only.
  checkBefore: bug(
    "journal-agree",
    300,
    {
      file: journal,
      from: "const created = await create(store, slotKey(slot), bytes, env);",
      to: 'const cutEnd = await this.#replay.cutEnd(slot, slot);\n      const created = cutEnd > 0 ? ({ kind: "mine" } as const) : await create(store, slotKey(slot), bytes, env);',
    },
    {
      file: journal,
      from: "      const cutEnd = await this.#replay.cutEnd(slot, slot);\n      if (cutEnd > 0) {",
      to: "      if (cutEnd > 0) {",
    },
  ),
  // An absent slot is the tail, whatever the marker says.
  noCheckTail: bug("journal-agree", 300, {
    file: replay,
    from: "const cutEnd = await this.cutEnd(first, end);",
    to: "const cutEnd = found.length === 0 ? 0 : await this.cutEnd(first, end);",
  }),
  // Chapters are cut below a snapshot that is only on its way.
  cutBeforeSnapshot: bug(
    "journal-agree",
    300,
    {
      file: truncation,
      from: "    if (!(await this.#publish(snapshot))) return;\n    const positions",
      to: "    void this.#publish(snapshot).catch(() => undefined);\n    const positions",
    },
    {
      file: truncation,
      from: "    const lower = kept[1];",
      to: "    const lower: number | undefined = snapshot.position;",
    },
  ),
  // Slots go before their marker is there.
  deleteBeforeCut: bug("journal-agree", 300, {
    file: truncation,
    from: "      await create(store, cutKey(chapter), encodeCut(clusterId, chapter, sha256), env);\n      for (const slot of slots) await this.#delete(slotKey(slot));",
    to: "      for (const slot of slots) await this.#delete(slotKey(slot));\n      await create(store, cutKey(chapter), encodeCut(clusterId, chapter, sha256), env);",
  }),
  // All snapshots but one's own go, from however old a view.
  keepOnlyMine: bug("journal-agree", 300, {
    file: truncation,
    from: "      if (position < lower) {",
    to: "      if (position !== snapshot.position) {",
  }),
  // What stands in a slot is ours.
  "412isMine": bug("journal-agree", 300, {
    file: create,
    from: 'return equalBytes(body, bytes) ? { kind: "mine" } : { kind: "other", body };',
    to: 'return { kind: "mine" };',
  }),
  // A name that is taken was taken by another.
  "412isLost": bug("journal-agree", 300, {
    file: create,
    from: 'return equalBytes(body, bytes) ? { kind: "mine" } : { kind: "other", body };',
    to: 'return { kind: "other", body };',
  }),

  "a list is judged in every slot that holds it": bug(
    "journal-agree",
    300,
    {
      file: apply,
      from: '    if (judgedBefore) return voided("judged-before");\n',
      to: "",
    },
    {
      file: create,
      from: 'return equalBytes(body, bytes) ? { kind: "mine" } : { kind: "other", body };',
      to: 'return { kind: "other", body };',
    },
  ),
  "a tail proof serves also those who ask while it is under way": bug("journal-agree", 300, {
    file: journal,
    from: "      this.#nextProof = null;\n      return this.#replay.catchUp(this.#follower?.expected);",
    to: "      return this.#replay.catchUp().finally(() => {\n        this.#nextProof = null;\n      });",
  }),
  "a snapshot forgets what became of the newest lists": bug("journal-agree", 300, {
    file: "metadata/snapshot.ts",
    from: "lastList: lastList === null ? null : { ...lastList, outcomes: lastList.outcomes.map(outcomeRow) },",
    to: "lastList: lastList === null ? null : null,",
  }),
  "an owner may change what another ownership prepared": bug("journal-owners", 300, {
    file: apply,
    from: 'return partition.leaderEpoch === epoch ? null : "leader-epoch";',
    to: 'return epoch < 0 ? "leader-epoch" : null;',
  }),
  "a dead broker's WAL ends once more": bug("journal-owners", 300, {
    file: apply,
    from: 'if (broker?.status !== "fenced") return "epoch-not-fenced";',
    to: 'if (broker === undefined || broker.status === "live") return "epoch-not-fenced";\n  for (const topic of image.topics.values()) for (const [at, each] of topic.partitions.entries()) if (each.dependencies.some(({ epoch }) => epoch === broker.epoch)) topic.partitions[at] = { ...each, owner: broker.epoch };',
  }),
  // A fenced broker goes on and its commands count, and the end of its WAL is not compared with what it released.
  "a fence freezes nothing": bug(
    "journal-owners",
    300,
    {
      file: apply,
      from: '    if (!isLive(image, slot.author)) return voided("author-not-live");\n',
      to: '    if (image.brokers.get(slot.author) === undefined) return voided("author-not-live");\n',
    },
    {
      file: apply,
      from: '  if (command.end < broker.released) return "below-released";\n',
      to: "",
    },
    {
      file: journal,
      from: "if (epoch === null || this.#fenced !== null || isLive(this.state, epoch)) return;",
      to: "if (epoch === null || this.#fenced !== null || this.state.nextSlot > 0) return;",
    },
  ),
  "a move leaves no dependency": bug("journal-owners", 300, {
    file: partition,
    from: "return changed({ ...before, owner: command.to, leaderEpoch: next, dependencies });",
    to: "return changed({ ...before, owner: command.to, leaderEpoch: next });",
  }),
  "a flush need not begin where the last one ended": bug("journal-owners", 300, {
    file: partition,
    from: 'if (row.from !== before.flushed) return voided("not-at-flushed");',
    to: 'if (row.from > before.flushed) return voided("not-at-flushed");',
  }),
} as const satisfies { readonly [name: string]: Bug };
export type BrokenJournal = keyof typeof brokenJournals;

/** The seed that found it, and what it said. Throws when no seed finds it. */
export async function judge(name: BrokenJournal): Promise<string> {
  const { proof, seeds, changes } = brokenJournals[name];
  const { code, told } = await runBroken(changes, [`test/proof/${proof}.ts`, "1", String(seeds)]);
  const found = /Violation: (seed \d+: .*)/.exec(told);
  if (code !== 0 && found !== null) return found[1] as string;
  throw new Error(code === 0 ? `${name}: ${proof} saw nothing in ${seeds} seeds` : `${name}: ${told}`);
}

if (import.meta.main) {
  const wanted = process.argv.slice(2);
  for (const name of Object.keys(brokenJournals) as BrokenJournal[]) {
    if (wanted.length === 0 || wanted.includes(name)) console.log(`${name}: ${await judge(name)}`);
  }
}
