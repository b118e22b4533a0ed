/**
 * The end of an object WAL whose writer is fenced in the journal, and what lies before it. Only an occupied
 * slot is evidence: an absent one may be filled a moment later by a put that is on its way, so whoever wants
 * to know the end fills it, with a seal. Sealing elects nobody: any number of brokers may do it, also half
 * of it, and all of them find the same end (P3). Nothing is deleted here, and a seal never is (I8).
 */
import { MalformedError, HoldfastError } from "../base/errors.ts";
import { type BrokerEpoch, type WalPosition, walPosition } from "../base/ids.ts";
import type { ObjectStore } from "../base/ports.ts";
import { create, type CreatePorts, read, untilAnswered } from "../store/create.ts";
import { lanesDefault } from "./object-wal.ts";
import {
  decodeSlot,
  encodeSeal,
  slotKey,
  slotOfKey,
  type SlotContent,
  type SlotName,
  walPrefix,
} from "./object-wal-format.ts";
import type { RecoveredEntry, RecoveryReport, WalHole } from "./wal-recovery.ts";

export interface DeadWal {
  readonly store: ObjectStore;
  readonly ports: CreatePorts;
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  /** r(e): frozen by the FENCE that was decided before this is called. */
  readonly released: WalPosition;
}

/** Slots that are asked for at a time. */
const readsAtOnce = 32;
const deletesAtOnce = 16;

/**
 * Finds the end of the log: every slot below is decided and its writer's, and it gets behind it never. Tries
 * for as long as the store does not answer; rejects when it cannot be used any more. `listed`: the highest slot that
 * a listing of any time showed; a hint, since it only says where to begin with seals.
 */
export async function sealWal(wal: DeadWal, listed: number | null = null): Promise<WalPosition> {
  const hint = listed ?? (await highestSlot(wal));
  // The writer is at most this far ahead of what a list can show; a seal ahead of it is a wall.
  let width = 2 * lanesDefault;
  for (let from: number = wal.released; ; ) {
    const to = Math.max(hint + 1, from) + width;
    const slots = Array.from({ length: to - from }, (_, at) => from + at);
    const isSeal = await Promise.all(slots.map((slot) => isSealed(wal, slot, slot <= hint)));
    const first = isSeal.indexOf(true);
    if (first >= 0) return walPosition(from + first);
    from = to;
    width *= 2;
  }
}

async function highestSlot({ store, ports, epoch, released }: DeadWal): Promise<number> {
  const listed = await untilAnswered(ports, () => store.list(walPrefix(epoch)));
  return Math.max(released - 1, ...listed.map(({ key }) => slotOfKey(epoch, key) ?? -1));
}

/** Decides the slot: with what stands there, or with a seal. Where nothing is expected the seal is tried at once. */
async function isSealed(wal: DeadWal, slot: number, isExpected: boolean): Promise<boolean> {
  const { store, ports, clusterId, epoch } = wal;
  const key = slotKey(epoch, slot);
  const there = isExpected ? await read(store, key, ports) : null;
  const seal = encodeSeal({ clusterId, epoch, slot });
  const body = there ?? (await sealed(create(store, key, seal, ports)));
  return body === null || (await contentIn(wal, slot, body)).kind === "seal";
}

/** Null: our seal stands there. */
async function sealed(creating: ReturnType<typeof create>): Promise<Uint8Array | null> {
  const created = await creating;
  return created.kind === "mine" ? null : created.body;
}

export interface DeadEntries {
  /** In order. */
  readonly entries: readonly RecoveredEntry[];
  readonly holes: readonly WalHole[];
  /** Acknowledged data is gone that nothing names: every partition of this WAL must leave a gap. */
  readonly jumped: boolean;
  readonly reports: readonly RecoveryReport[];
}

/** A slot that is needed is not there: the journal may have moved on; if it has not, somebody deleted acknowledged data. */
export class SlotMissingError extends HoldfastError {
  readonly code = "SLOT_MISSING";
  override readonly name = "SlotMissingError";
}

/**
 * What lies in [from, end) of a sealed log. Rejects with `SlotMissingError` when a slot of it is not there:
 * the caller reads the journal again, and if that still needs it, stops with an alarm.
 */
export async function readSealed(wal: DeadWal, from: WalPosition, end: WalPosition): Promise<DeadEntries> {
  const entries: RecoveredEntry[] = [];
  const holes: WalHole[] = [];
  const reports: RecoveryReport[] = [];
  let jumped = false;
  for (let begin: number = from; begin < end; begin += readsAtOnce) {
    const slots = Array.from({ length: Math.min(readsAtOnce, end - begin) }, (_, at) => begin + at);
    const contents = await Promise.all(slots.map((slot) => contentOf(wal, slot)));
    for (const [at, content] of contents.entries()) {
      const slot = begin + at;
      for (const entry of content.entries) entries.push({ entry, position: walPosition(slot) });
      holes.push(...content.holes);
      jumped ||= content.isNameless;
      if (content.holes.length > 0 || content.isNameless) reports.push(reportOf(wal.epoch, slot, content));
    }
  }
  return { entries, holes, jumped, reports };
}

type Entries = Extract<SlotContent, { kind: "entries" }>;

async function contentOf(wal: DeadWal, slot: number): Promise<Entries> {
  const { store, ports, epoch } = wal;
  const body = await read(store, slotKey(epoch, slot), ports);
  if (body === null) throw new SlotMissingError(`slot ${slot} of epoch ${epoch} is needed and is not there`);
  const content = await contentIn(wal, slot, body);
  if (content.kind === "seal") {
    throw new MalformedError(`slot ${slot} of epoch ${epoch} is a seal below the end of its log`);
  }
  return content;
}

/**
 * What was read as damaged is given up for ever, so it is read once more before: bytes may be altered on their way, and
 * be sound where they lie. As a part, since who reads each object once does not keep parts.
 */
async function contentIn(wal: DeadWal, slot: number, body: Uint8Array): Promise<SlotContent> {
  const { store, ports, clusterId, epoch } = wal;
  const name = { clusterId, epoch, slot };
  const content = soundOrNull(name, body);
  if (content !== null) return content;
  const whole = { start: 0, length: body.byteLength };
  const again = await untilAnswered(ports, () => store.get(slotKey(epoch, slot), whole));
  return (again === null ? null : soundOrNull(name, again)) ?? decodeSlot(name, body);
}

function soundOrNull(name: SlotName, body: Uint8Array): SlotContent | null {
  try {
    const content = decodeSlot(name, body);
    const isSound = content.kind === "seal" || (content.holes.length === 0 && !content.isNameless);
    return isSound ? content : null;
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause;
    return null;
  }
}

function reportOf(epoch: BrokerEpoch, slot: number, { holes, isNameless }: Entries): RecoveryReport {
  if (isNameless) {
    const message = `slot ${slot} of epoch ${epoch} is damaged so that its entries cannot be named; its partitions go on behind a gap`;
    return { kind: "jump", message };
  }
  const named = holes.map(
    (hole) => `${hole.topicId}/${hole.partition} offsets ${hole.from} to ${hole.to - 1}`,
  );
  return { kind: "hole", message: `slot ${slot} of epoch ${epoch} is damaged: lost are ${named.join(", ")}` };
}

/**
 * Deletes slots that nothing needs: below `below`, and above the seal of a log that ended. Any view of the
 * journal will do, since both only grow. The slot of the seal stays for ever: without it a writer that was
 * asleep could fill it, and would acknowledge what nobody reads (I8). Returns how many were there, and
 * rejects with what the store rejects with; the rest can be deleted later.
 */
export async function deleteSlots(
  { store, epoch }: Pick<DeadWal, "store" | "epoch">,
  below: WalPosition,
  sealedAt: WalPosition | null,
): Promise<number> {
  const keys: string[] = [];
  for (const { key } of await store.list(walPrefix(epoch))) {
    const slot = slotOfKey(epoch, key);
    if (slot === null || slot === sealedAt) continue;
    if (slot < below || (sealedAt !== null && slot > sealedAt)) keys.push(key);
  }
  await deleteAll(store, keys);
  return keys.length;
}

/** In order, some at a time. */
export async function deleteAll(store: ObjectStore, keys: readonly string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += deletesAtOnce) {
    await Promise.all(keys.slice(at, at + deletesAtOnce).map((key) => store.delete(key)));
  }
}
