/**
 * The metadata journal (P1): a totally ordered list of commands in numbered objects, and the state that
 * they make. A command has taken effect when its slot is decided, read back and applied; then and only then
 * its author is told. Commands that arrive while one slot is being decided share the next one; one slot is
 * in flight at a time. What must never happen: that a command takes effect twice, that two processes see
 * different first contents of a slot, or that an error is taken for a "no".
 */
import { assert } from "../base/assert.ts";
import { DiskError } from "../base/errors.ts";
import type { BrokerEpoch, ProducerId } from "../base/ids.ts";
import type { Env, Histogram, ObjectStore, Sha256 } from "../base/ports.ts";
import { isClusterId } from "../store/body.ts";
import { create } from "../store/create.ts";
import type { SlotContent } from "./apply.ts";
import { nodeIdFor } from "./brokers.ts";
import { type Command, levelNeeded, type Register, WalKind } from "./commands.ts";
import { FencedError, JournalClosedError } from "./errors.ts";
import { Follower } from "./follower.ts";
import type { Applied, CommandOutcome, JournalEvent, Void } from "./outcomes.ts";
import { untilClosed } from "./until-closed.ts";
import { refuseForeign } from "./foreign-store.ts";
import { type AppliedSlot, Replay, type ReplayPorts } from "./replay.ts";
import { encodeSlot, encodeSnapshotObject, slotKey } from "./slot.ts";
import { type ClusterState, isLive, NO_BROKER } from "./state.ts";
import { SnapshotRule } from "./snapshot-rule.ts";
import { type DueSnapshot, Truncation } from "./truncation.ts";

/** What this software writes into a cluster that it begins, and the highest it can read (I14). */
export const formatLevel = 2;
/** Producer ids are taken from the journal in blocks of this size. */
export const producerBlockCount = 1_000;
/** More commands wait for the next list. A list of large FLUSHes is bounded by the flusher. */
const commandsPerListMax = 1_000;
const chapterSlotsDefault = 1_024;
const nonceBytes = 16;

export interface JournalOptions {
  readonly store: ObjectStore;
  readonly env: Env;
  readonly sha256: Sha256;
  /** A store with another kind is refused; an empty store becomes a cluster of this kind. */
  readonly walKind: "file" | "object";
  /** Null: the one found, or on an empty store one drawn by chance. Another one found is refused. */
  readonly clusterId?: string | null;
  /** How many slots are truncated together in a cluster that begins here; small in tests. */
  readonly chapterSlots?: number;
  /** No snapshot within a chapter is written for fewer bytes of slots; small in tests. */
  readonly snapshotBytesMin?: number;
}

/** What a process says of itself. `nodeId` −1 (`NO_NODE`): that of its name, or a new one. */
export type Registration = Omit<Register, "nonce" | "levelMax" | "name"> & { readonly name?: string };

interface Waiting {
  readonly command: Command;
  readonly resolve: (outcome: Applied | Void) => void;
  readonly reject: (cause: Error) => void;
}

export class Journal {
  readonly #ports: ReplayPorts;
  readonly #options: JournalOptions;
  readonly #nonce: Uint8Array;
  readonly #replay: Replay;
  readonly #truncation: Truncation;
  readonly #slotMs: Histogram;
  readonly #listeners = new Set<(event: JournalEvent) => void>();
  readonly #failureListeners = new Set<(cause: JournalClosedError) => void>();
  readonly #fenceListeners = new Set<(cause: FencedError) => void>();
  /** Bounded by those who give commands: each waits for its answer. */
  readonly #waiting: Waiting[] = [];
  /** Whoever reads or writes slots does it alone, in order of arrival. */
  #turn: Promise<unknown> = Promise.resolve();
  #epoch: BrokerEpoch | null = null;
  #lists = 0;
  #closed: JournalClosedError | null = null;
  #fenced: FencedError | null = null;
  #follower: Follower | null = null;
  /** A tail proof that was asked for and did not begin yet. */
  #nextProof: Promise<void> | null = null;
  /** The newest snapshot that we see to and have not yet. */
  #due: DueSnapshot | null = null;
  #truncating: Promise<void> | null = null;

  private constructor(options: JournalOptions) {
    this.#options = options;
    const store = untilClosed(options.store, () => this.#closed);
    this.#ports = { store, env: options.env, sha256: options.sha256 };
    this.#nonce = options.env.random.bytes(nonceBytes);
    const rule = new SnapshotRule(options.snapshotBytesMin);
    this.#replay = new Replay(this.#ports, (event) => this.#onEvent(event), rule);
    this.#truncation = new Truncation(this.#ports);
    const { meter } = options.env;
    this.#slotMs = meter.histogram(
      "holdfast_metadata_slot_ms",
      "Time from a list of commands to its decision.",
      [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000],
    );
    meter.gauge("holdfast_metadata_slots_count", "Slots of the metadata journal that are decided.", () => {
      return this.state.nextSlot;
    });
  }

  /**
   * Reads the whole journal; an empty store becomes a cluster. Rejects with `RefusedError` (another
   * cluster, WAL kind or format level), `DamageError`, `UnknownCommandError`, or what the store gave.
   */
  static async open(options: JournalOptions): Promise<Journal> {
    const journal = new Journal(options);
    await journal.#replay.load();
    if (journal.state.nextSlot === 0) await journal.#begin();
    const { clusterId = null, walKind } = options;
    refuseForeign(journal.state, { clusterId, walKind, levelMax: formatLevel });
    return journal;
  }

  /** As of the newest slot this process has applied. Changes between awaits. */
  get state(): ClusterState {
    return this.#replay.image;
  }

  /** The epoch that `register` gave, or null. */
  get epoch(): BrokerEpoch | null {
    return this.#epoch;
  }

  /**
   * Resolves once the slot is decided and applied here. Commands given while one slot is being decided
   * share the next. Void "author-not-live" from the moment on in which this broker was fenced. Rejects with a retriable `DiskError` when the store is full: nothing took effect and
   * the journal goes on; with `JournalClosedError` after any other failure: the outcome is unknown.
   */
  append(command: Command): Promise<Applied | Void> {
    assert(this.#epoch !== null, "a broker registers before it gives commands");
    if (this.#closed !== null) return Promise.reject(this.#closed);
    if (this.#fenced !== null) return Promise.resolve(notLive);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, resolve, reject });
      if (this.#waiting.length === 1) this.#decideSoon();
    });
  }

  /** Makes this process a broker; once per journal. Errors as those of `append`. */
  async register(broker: Registration): Promise<BrokerEpoch> {
    assert(this.#epoch === null, "a process registers once");
    const nonce = Buffer.from(this.#nonce).toString("hex");
    const command: Command = { kind: "register", name: null, ...broker, nonce, levelMax: formatLevel };
    const [outcome] = await this.#alone(() =>
      this.#place({ author: NO_BROKER, list: 0, commands: [command] }),
    );
    assert(outcome?.kind === "applied" && outcome.effect.kind === "registered", "REGISTER always holds");
    const { epoch } = outcome.effect;
    this.#epoch = epoch;
    // While we waited for the answer we may have been ended again.
    this.#noteFence(null);
    this.#truncateWhenDue();
    return epoch;
  }

  /** A block of producer ids, [first, first + count); null: this broker is fenced. Errors as those of `append`. */
  async takeProducerIds(): Promise<{ readonly first: ProducerId; readonly count: number } | null> {
    const outcome = await this.append({ kind: "producers", count: producerBlockCount });
    if (outcome.kind === "void") return null;
    assert(outcome.effect.kind === "producers", "PRODUCERS hands out producer ids");
    return outcome.effect;
  }

  /**
   * Applies every slot that was decided before the call: whoever denies something asks this first. One proof
   * serves all who ask before it begins.
   */
  catchUp(): Promise<void> {
    this.#nextProof ??= this.#alone(() => {
      this.#nextProof = null;
      return this.#replay.catchUp(this.#follower?.expected);
    });
    return this.#nextProof;
  }

  /** From now on the view is kept near the tail, also when nobody here asks or writes; `close` ends it. */
  follow(): void {
    this.#follower ??= new Follower({
      env: this.#ports.env,
      store: this.#ports.store,
      view: () => this.state,
      catchUp: () => this.catchUp(),
    });
  }

  /** Somebody says that this slot is decided. A hint: it may be wrong, and costs a look. */
  notice(slot: number): void {
    this.#follower?.notice(slot);
  }

  stopFollowing(): void {
    this.#follower?.stop();
    this.#follower = null;
  }

  /** Called in journal order; must not throw. Returns a function that ends it. */
  onApplied(listener: (event: JournalEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Called once, when the journal closed because of an error: the process must exit. */
  onFailure(listener: (cause: JournalClosedError) => void): () => void {
    this.#failureListeners.add(listener);
    return () => this.#failureListeners.delete(listener);
  }

  /** Called once, when this broker's own epoch was ended, at once if it was: the process must stop serving. Must not throw. */
  onFenced(listener: (cause: FencedError) => void): () => void {
    if (this.#fenced !== null) listener(this.#fenced);
    else this.#fenceListeners.add(listener);
    return () => this.#fenceListeners.delete(listener);
  }

  /** Waits for commands that are in flight; no command is taken afterwards, and no read goes on. */
  async close(): Promise<void> {
    this.stopFollowing();
    while (this.#waiting.length > 0 || this.#truncating !== null) {
      await this.#turn;
      await this.#truncating;
    }
    this.#closed ??= new JournalClosedError("The metadata journal is closed.");
    await this.#turn;
  }

  /** Runs `work` when all earlier work on slots is done. An error that is not retriable closes the journal. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(async () => {
      if (this.#closed !== null) throw this.#closed;
      try {
        return await work();
      } catch (error) {
        throw isRetriable(error) ? error : this.#fail(error);
      }
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #decideSoon(): void {
    // A journal that closed has answered all who wait.
    this.#alone(() => this.#decideNext()).catch(() => undefined);
  }

  /** One list of what waits; never rejects, since each waiter gets its own answer. */
  async #decideNext(): Promise<void> {
    const taken = this.#takeWaiting();
    const author = this.#epoch as BrokerEpoch;
    const commands = taken.map(({ command }) => command);
    try {
      const outcomes =
        commands.length === 0 ? [] : await this.#place({ author, list: ++this.#lists, commands });
      taken.forEach(({ resolve }, at) => resolve(outcomes[at] as CommandOutcome));
    } catch (error) {
      const cause = isRetriable(error) ? error : this.#fail(error);
      for (const { reject } of taken) reject(cause);
    }
    if (this.#waiting.length > 0) this.#decideSoon();
  }

  /** The next list. What could only be void is answered here; older software would stop at what is above its format level (I14). */
  #takeWaiting(): readonly Waiting[] {
    return this.#waiting.splice(0, commandsPerListMax).filter(({ command, resolve }) => {
      if (this.#fenced !== null) resolve(notLive);
      else if (levelNeeded(command.kind) > this.state.level) resolve({ kind: "void", reason: "level" });
      else return true;
      return false;
    });
  }

  /** Finds the slot for a list: each lost slot is applied, and the next one is tried with the same list. */
  async #place(content: SlotContent): Promise<readonly CommandOutcome[]> {
    const { store, env, sha256 } = this.#ports;
    const begin = env.clock.monotonicMs();
    for (;;) {
      const { clusterId, nextSlot: slot, previousHash, level } = this.state;
      const id = clusterIdOf(content) ?? clusterId;
      const origin = { clusterId: id, slot, previousHash, nonce: this.#nonce, level: Math.max(level, 1) };
      const bytes = encodeSlot(origin, this.#withNodeId(content), sha256);
      const created = await create(store, slotKey(slot), bytes, env);
      // After the write, always: a slot of a truncated chapter can be created again, and counts for nothing.
      const cutEnd = await this.#replay.cutEnd(slot, slot);
      if (cutEnd > 0) {
        await this.#replay.reload(cutEnd);
        const decided = this.#decidedBefore(content);
        if (decided !== null) return decided;
      } else if (created.kind === "mine") {
        this.#slotMs.observe(env.clock.monotonicMs() - begin);
        return outcomesOf(this.#replay.applyNext(bytes));
      } else {
        this.#replay.applyNext(created.body);
        // Only the first slot can begin a cluster, and somebody else's INIT is as good.
        if (content.commands[0]?.kind === "init") return [{ kind: "void", reason: "misplaced" }];
      }
      // No slot has it, and none that counts will.
      if (this.#fenced !== null) return content.commands.map(() => notLive);
    }
  }

  /** Format level 1 has no name and no id to be found: the one that the next slot would give is written. */
  #withNodeId(content: SlotContent): SlotContent {
    const [first] = content.commands;
    if (first?.kind !== "register" || this.state.level >= 2) return content;
    return { ...content, commands: [{ ...first, nodeId: nodeIdFor(this.state, first) }] };
  }

  /** What the snapshot tells of a list whose slot was truncated before we saw it; null: it was never in a slot. */
  #decidedBefore(content: SlotContent): readonly CommandOutcome[] | null {
    const { brokers } = this.state;
    const [first] = content.commands;
    if (first?.kind === "init") return [{ kind: "void", reason: "misplaced" }];
    if (first?.kind === "register") {
      for (const { epoch, nonce } of brokers.values()) {
        if (nonce === first.nonce) return [{ kind: "applied", effect: { kind: "registered", epoch } }];
      }
      return null;
    }
    const broker = brokers.get(content.author);
    if (broker === undefined || broker.status === "sealed") {
      throw new JournalClosedError(
        "This broker was replaced by another while it was silent, and cannot tell what became of its last commands.",
      );
    }
    const { lastList } = broker;
    return lastList?.number === content.list ? lastList.outcomes : null;
  }

  async #begin(): Promise<void> {
    const { clusterId, walKind, chapterSlots = chapterSlotsDefault, env } = this.#options;
    const init: Command = {
      kind: "init",
      clusterId: clusterId ?? drawClusterId(env),
      level: formatLevel,
      walKind: WalKind[walKind],
      chapterSlots,
    };
    // Void: another process began the cluster a moment earlier, and its INIT was applied.
    await this.#place({ author: NO_BROKER, list: 0, commands: [init] });
  }

  #onEvent(event: JournalEvent): void {
    if (event.kind === "slot" && this.#replay.isSnapshotDue) this.#noteSnapshot(event.author);
    for (const listener of this.#listeners) listener(event);
    this.#noteFence(event.kind === "slot" ? event.author : null);
  }

  /** `by`: the author of the command that may have ended us; null: nobody knows. */
  #noteFence(by: BrokerEpoch | null): void {
    const epoch = this.#epoch;
    if (epoch === null || this.#fenced !== null || isLive(this.state, epoch)) return;
    this.#fenced = new FencedError(epoch, by);
    for (const listener of this.#fenceListeners) listener(this.#fenced);
    this.#fenceListeners.clear();
  }

  /** The bytes are made at once, because the state moves on; writing them waits until nobody is kept waiting. */
  #noteSnapshot(author: BrokerEpoch): void {
    const { state } = this;
    // Of many brokers the author of the last slot truncates, and one more compares. Who starts sees to what was left.
    const truncates = this.#epoch === null || author === this.#epoch;
    if (!truncates && firstLive(state, author) !== this.#epoch) return;
    this.#due = {
      truncates: truncates || this.#due?.truncates === true,
      position: state.nextSlot,
      clusterId: state.clusterId,
      chapterSlots: state.chapterSlots,
      bytes: encodeSnapshotObject(state, this.#ports.sha256),
    };
    if (this.#epoch !== null) this.#truncateWhenDue();
  }

  #truncateWhenDue(): void {
    const end = this.#due;
    if (end === null || this.#truncating !== null || this.#closed !== null) return;
    this.#due = null;
    this.#truncating = this.#truncation
      .run(end)
      .catch((error: unknown) => {
        if (isRetriable(error)) {
          this.#ports.env.log.warn("journal not truncated", {
            position: end.position,
            reason: String(error),
          });
        } else this.#fail(error);
      })
      .finally(() => {
        this.#truncating = null;
        this.#truncateWhenDue();
      });
  }

  #fail(error: unknown): JournalClosedError {
    if (this.#closed !== null) return this.#closed;
    const closed = error instanceof JournalClosedError ? error : closedBy(error);
    this.#closed = closed;
    for (const { reject } of this.#waiting.splice(0)) reject(closed);
    for (const listener of this.#failureListeners) listener(closed);
    return closed;
  }
}

const notLive: Void = { kind: "void", reason: "author-not-live" };

/** The oldest live broker but one. */
function firstLive(state: ClusterState, except: BrokerEpoch): BrokerEpoch | null {
  for (const { epoch, status } of state.brokers.values()) {
    if (status === "live" && epoch !== except) return epoch;
  }
  return null;
}

function outcomesOf(slot: AppliedSlot): readonly CommandOutcome[] {
  return slot.commands.map(({ outcome }) => outcome);
}

function closedBy(error: unknown): JournalClosedError {
  const why = error instanceof Error ? error.message : String(error);
  return new JournalClosedError(`The metadata journal stopped: ${why}`, { cause: error });
}

/** The cluster id that a list brings itself. */
function clusterIdOf(content: SlotContent): string | null {
  const [first] = content.commands;
  return first?.kind === "init" ? first.clusterId : null;
}

/** As Kafka's: 16 random bytes in base64url, not beginning with a dash, which would look like an option. */
function drawClusterId(env: Env): string {
  for (;;) {
    const id = Buffer.from(env.random.bytes(16)).toString("base64url");
    if (!id.startsWith("-") && isClusterId(id)) return id;
  }
}

function isRetriable(error: unknown): error is DiskError {
  return error instanceof DiskError && error.retriable;
}
