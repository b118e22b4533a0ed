/**
 * Reading the journal: slots in order from the newest usable snapshot on. Only an occupied slot is
 * evidence, and only while the cut marker of its chapter is absent *after* it was read: then no slot of
 * the chapter had been deleted, so what was read is the first and only content (P1). A damaged snapshot
 * is passed over for the one before it; a damaged or missing slot stops everything with a sentence.
 * Nothing is deleted here, ever.
 */
import { DamageError, MalformedError } from "../base/errors.ts";
import type { BrokerEpoch } from "../base/ids.ts";
import { type Env, type ObjectStore, type Sha256, sleep } from "../base/ports.ts";
import { backoffMs, read, untilAnswered } from "../store/create.ts";
import { applySlot } from "./apply.ts";
import type { Command } from "./commands.ts";
import { ClusterImage } from "./image.ts";
import type { CommandOutcome, JournalEvent } from "./outcomes.ts";
import {
  cutKey,
  decodeSlot,
  decodeSnapshotObject,
  numberIn,
  slotKey,
  slotPrefix,
  snapshotKey,
  snapshotPrefix,
} from "./slot.ts";
import { SnapshotRule } from "./snapshot-rule.ts";

export interface ReplayPorts {
  readonly store: ObjectStore;
  readonly env: Env;
  readonly sha256: Sha256;
}

export interface AppliedSlot {
  readonly slot: number;
  readonly author: BrokerEpoch;
  readonly commands: readonly { readonly command: Command; readonly outcome: CommandOutcome }[];
}

/** Slots read at once, while more follow; as many again are on their way behind them. */
const readWidthMax = 64;
/** A snapshot may vanish between LIST and GET, because a newer one replaced it: look again so often. */
const reloadTriesMax = 8;

export class Replay {
  readonly #ports: ReplayPorts;
  readonly #emit: (event: JournalEvent) => void;
  readonly #rule: SnapshotRule;
  #image = new ClusterImage();

  constructor(ports: ReplayPorts, emit: (event: JournalEvent) => void, rule = new SnapshotRule()) {
    this.#ports = ports;
    this.#emit = emit;
    this.#rule = rule;
  }

  /** As of the newest applied slot. Another object after a reload. */
  get image(): ClusterImage {
    return this.#image;
  }

  /** Whether a snapshot is due after the newest slot: the same for all who read the journal from one position on. */
  get isSnapshotDue(): boolean {
    return this.#rule.isDue;
  }

  /**
   * Reads everything there is. Rejects with `DamageError` or `UnknownCommandError`. Without a snapshot it begins at
   * slot 0, and the cut marker tells, as in any other batch, whether there had been one.
   */
  async load(): Promise<void> {
    const listed = listNumbers(this.#ports, slotPrefix);
    listed.catch(() => undefined);
    await this.reload(0);
    const highest = (await listed).at(-1) ?? -1;
    await this.catchUp(highest + 1 - this.#image.nextSlot);
    await this.#refuseGap(highest);
  }

  /**
   * Applies every slot that was decided before the call (the tail proof of P1): the next slot was absent at
   * a moment after it, and then the cut marker of its chapter was absent too. `expected`: about so many slots
   * are new, which saves asking for them one by one.
   */
  async catchUp(expected = 0): Promise<void> {
    // One more than is expected shows where the journal ends. Before INIT nobody knows which marker is whose.
    const begin = this.#image.nextSlot === 0 ? 1 : expected + 1;
    let width = Math.max(1, Math.min(begin, readWidthMax));
    let reading = this.#readSlots(this.#image.nextSlot, width);
    for (;;) {
      const found = await reading;
      const first = this.#image.nextSlot;
      const end = first + found.length;
      const isFull = found.length === width;
      width = Math.min(Math.max(width * 4, expected), readWidthMax);
      // On the way while the marker is asked for and the state takes what was found; its own marker is asked for after it.
      if (isFull) reading = this.#readSlots(end, width);
      reading.catch(() => undefined);
      const cutEnd = await this.cutEnd(first, end);
      if (cutEnd > 0) {
        await this.reload(cutEnd);
        reading = this.#readSlots(this.#image.nextSlot, width);
        continue;
      }
      for (const bytes of found) this.applyNext(bytes);
      if (!isFull) return;
    }
  }

  /**
   * 0: no slot in the chapters of slots first … last had been deleted. Else slots below the result may be
   * missing, nothing seen there counts, and a snapshot at or above it exists.
   */
  async cutEnd(first: number, last: number): Promise<number> {
    const { chapterSlots } = this.#image;
    const { store, env } = this.#ports;
    const ends: Promise<number>[] = [];
    for (let chapter = Math.floor(first / chapterSlots); chapter * chapterSlots <= last; chapter++) {
      const marker = read(store, cutKey(chapter), env);
      ends.push(marker.then((found) => (found === null ? 0 : (chapter + 1) * chapterSlots)));
    }
    return Math.max(...(await Promise.all(ends)));
  }

  /** Decodes and applies what stands in the next slot; the caller has checked the cut marker. */
  applyNext(bytes: Uint8Array): AppliedSlot {
    const image = this.#image;
    const slot = image.nextSlot;
    const { sha256 } = this.#ports;
    let content;
    try {
      content = decodeSlot(bytes, image, sha256).content;
    } catch (cause) {
      if (!(cause instanceof MalformedError)) throw cause;
      throw new DamageError(
        `Slot ${slot} of the metadata journal, object ${slotKey(slot)}, is damaged: ${cause.message}. Nothing was changed or deleted. Put this object back from a copy of the store, then start again.`,
        { cause },
      );
    }
    const outcomes = applySlot(image, content, sha256(bytes));
    this.#rule.applied(bytes.byteLength, image);
    const commands = content.commands.map((command, at) => ({
      command,
      outcome: outcomes[at] as CommandOutcome,
    }));
    const applied = { slot, author: content.author, commands };
    this.#emit({ kind: "slot", ...applied });
    return applied;
  }

  /** Starts again from the highest snapshot that can be read, which must be at `position` or above. */
  async reload(position: number): Promise<void> {
    const { env } = this.#ports;
    let damaged = 0;
    for (let attempt = 0; attempt < reloadTriesMax; attempt++) {
      if (attempt > 0) await sleep(env.clock, backoffMs(attempt, env.random));
      const found = await this.#newestSnapshot();
      if (found.kind === "vanished") continue;
      damaged = found.damaged;
      if (found.image.nextSlot < position) continue;
      this.#image = found.image;
      this.#rule.begin();
      this.#emit({ kind: "reloaded" });
      return;
    }
    throw new DamageError(
      `The metadata journal below slot ${position} was replaced by snapshots, and none of them can be read (${damaged} damaged, under ${snapshotPrefix}). Nothing was changed or deleted. Put a snapshot back from a copy of the store, then start again.`,
    );
  }

  async #newestSnapshot(): Promise<
    | { readonly kind: "vanished" }
    | { readonly kind: "found"; readonly image: ClusterImage; readonly damaged: number }
  > {
    const positions = await listNumbers(this.#ports, snapshotPrefix);
    let damaged = 0;
    for (const position of positions.reverse()) {
      const bytes = await read(this.#ports.store, snapshotKey(position), this.#ports.env);
      if (bytes === null) return { kind: "vanished" };
      const image = readSnapshot(this.#ports, position, this.#image.clusterId, bytes);
      if (image !== null) return { kind: "found", image, damaged };
      damaged++;
    }
    return { kind: "found", image: new ClusterImage(), damaged };
  }

  async #readSlots(first: number, width: number): Promise<readonly Uint8Array[]> {
    const { store, env } = this.#ports;
    const reads: Promise<Uint8Array | null>[] = [];
    for (let slot = first; slot < first + width; slot++) reads.push(read(store, slotKey(slot), env));
    const all = await Promise.all(reads);
    const end = all.indexOf(null);
    return (end < 0 ? all : all.slice(0, end)) as Uint8Array[];
  }

  /**
   * Slots are created one after the other, so one above an absent one proves that the absent one was lost;
   * going on would put another command in its place and then believe the rest. `highest` was listed before.
   */
  async #refuseGap(highest: number): Promise<void> {
    if (highest < this.#image.nextSlot) return;
    await this.catchUp();
    const missing = this.#image.nextSlot;
    if (highest < missing) return;
    throw new DamageError(
      `Slot ${missing} of the metadata journal, object ${slotKey(missing)}, is missing, although slot ${highest} exists. Nothing was changed or deleted. Put this object back from a copy of the store, then start again.`,
    );
  }
}

/** Null: damaged, which is reported. */
export function readSnapshot(
  ports: ReplayPorts,
  position: number,
  clusterId: string,
  bytes: Uint8Array,
): ClusterImage | null {
  try {
    return decodeSnapshotObject(
      bytes,
      { position, clusterId: clusterId === "" ? null : clusterId },
      ports.sha256,
    );
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause;
    ports.env.log.error("journal snapshot damaged", {
      object: snapshotKey(position),
      reason: cause.message,
      consequence: "the snapshot before it is used; nothing was deleted",
    });
    return null;
  }
}

/** The numbers in the keys under a prefix, ascending. */
export async function listNumbers(ports: ReplayPorts, prefix: string): Promise<number[]> {
  const numbers: number[] = [];
  for (const { key } of await untilAnswered(ports.env, () => ports.store.list(prefix))) {
    const number = numberIn(key, prefix);
    if (number !== null) numbers.push(number);
  }
  return numbers.sort((a, b) => a - b);
}
