/**
 * Keeps the journal short (P1): at the end of a chapter, and in between when slots weigh more than the state
 * (snapshot-rule.ts), the state is written as a snapshot; chapters that end at or below
 * the lower of the two highest snapshots get their cut marker and are then deleted, with older snapshots.
 * The order is the safety: snapshot durable, then marker durable, then deletion, so whoever still reads or
 * writes in a chapter either finds it untouched or finds the marker afterwards. Any broker may do any part
 * of it at any time, with any old view.
 */
import { equalBytes } from "../base/bytes.ts";
import { DamageError } from "../base/errors.ts";
import { create, read, untilAnswered } from "../store/create.ts";
import { listNumbers, readSnapshot, type ReplayPorts } from "./replay.ts";
import {
  cutKey,
  encodeCut,
  encodeSnapshotObject,
  slotKey,
  slotPrefix,
  snapshotKey,
  snapshotPrefix,
} from "./slot.ts";

export interface DueSnapshot {
  /** False: another broker does it, and the snapshot is only compared with what it wrote. */
  readonly truncates: boolean;
  readonly position: number;
  readonly clusterId: string;
  readonly chapterSlots: number;
  readonly bytes: Uint8Array;
}

export class Truncation {
  readonly #ports: ReplayPorts;
  /** Positions whose snapshot this process has written or read without fault. */
  readonly #sound = new Set<number>();
  /** Chapters below it are gone, by what this process did. */
  #cutChapters = 0;

  constructor(ports: ReplayPorts) {
    this.#ports = ports;
  }

  /** Rejects with a retriable `DiskError` when the store is full: nothing is lost, a later chapter's end does it. */
  async run(snapshot: DueSnapshot): Promise<void> {
    if (!snapshot.truncates) return this.#compare(snapshot);
    if (!(await this.#publish(snapshot))) return;
    const positions = (await listNumbers(this.#ports, snapshotPrefix)).reverse();
    const kept: number[] = [];
    for (const position of positions) {
      if (kept.length < 2 && (await this.#isSound(position, snapshot.clusterId))) kept.push(position);
    }
    const lower = kept[1];
    if (lower === undefined) return;
    await this.#cutBelow(lower, snapshot);
    for (const position of positions) {
      if (position < lower) {
        await this.#delete(snapshotKey(position));
        this.#sound.delete(position);
      }
    }
  }

  /** False: a damaged object stands at this name. It stays, and the journal keeps what it would have replaced. */
  async #publish(snapshot: DueSnapshot): Promise<boolean> {
    const { store, env } = this.#ports;
    const { position } = snapshot;
    const created = await create(store, snapshotKey(position), snapshot.bytes, env);
    if (created.kind === "other" && !this.#isSame(snapshot, created.body)) return false;
    this.#sound.add(position);
    return true;
  }

  /** Not there: who should write it is about to, or died over it. */
  async #compare(snapshot: DueSnapshot): Promise<void> {
    const bytes = await read(this.#ports.store, snapshotKey(snapshot.position), this.#ports.env);
    if (bytes === null) await this.#publish(snapshot);
    else this.#isSame(snapshot, bytes);
  }

  /** False: what stands there is damaged. Throws when it is whole and tells another state. */
  #isSame({ position, clusterId, bytes }: DueSnapshot, other: Uint8Array): boolean {
    const image = readSnapshot(this.#ports, position, clusterId, other);
    if (image === null) return false;
    // Bytes of another version of this software may differ and mean the same.
    if (equalBytes(encodeSnapshotObject(image, this.#ports.sha256), bytes)) return true;
    throw parted(position);
  }

  async #isSound(position: number, clusterId: string): Promise<boolean> {
    if (this.#sound.has(position)) return true;
    const bytes = await read(this.#ports.store, snapshotKey(position), this.#ports.env);
    if (bytes === null || readSnapshot(this.#ports, position, clusterId, bytes) === null) return false;
    this.#sound.add(position);
    return true;
  }

  async #cutBelow(lower: number, snapshot: DueSnapshot): Promise<void> {
    const { store, env, sha256 } = this.#ports;
    const { chapterSlots, clusterId } = snapshot;
    // Of several snapshots within one chapter the first had this done.
    const below = Math.floor(lower / chapterSlots);
    if (below <= this.#cutChapters) return;
    const chapters = new Map<number, number[]>();
    for (const slot of await listNumbers(this.#ports, slotPrefix)) {
      const chapter = Math.floor(slot / chapterSlots);
      if (chapter >= below) break;
      const slots = chapters.get(chapter);
      if (slots === undefined) chapters.set(chapter, [slot]);
      else slots.push(slot);
    }
    for (const [chapter, slots] of chapters) {
      // Whatever stands there: the marker's name is what counts.
      await create(store, cutKey(chapter), encodeCut(clusterId, chapter, sha256), env);
      for (const slot of slots) await this.#delete(slotKey(slot));
    }
    this.#cutChapters = below;
  }

  #delete(key: string): Promise<void> {
    return untilAnswered(this.#ports.env, () => this.#ports.store.delete(key));
  }
}

function parted(position: number): DamageError {
  return new DamageError(
    `The snapshot ${snapshotKey(position)} of the metadata journal differs from the state that this process has at the same slot. Nothing was deleted. Run the same version of Holdfast everywhere, and compare the copies of the store.`,
  );
}
