/**
 * What REGISTER, FENCE, DRAIN and LEVEL do to the brokers of the state. Pure, as all of `apply.ts`. A broker
 * lives once: live, then fenced, then sealed, and never back; its id among clients outlives it by its name.
 */
import { brokerEpoch, type BrokerEpoch, type NodeId, nodeId, walPosition } from "../base/ids.ts";
import type { Drain, Fence, Level, Register } from "./commands.ts";
import type { ClusterImage } from "./image.ts";
import type { VoidReason } from "./outcomes.ts";
import { type ClusterState, isLive, NO_NODE } from "./state.ts";

/** Sealed epochs on which nothing depends are remembered up to this number. */
export const sealedBrokersMax = 1_000;

/** The epoch of the new broker: the slot. */
export function register(image: ClusterImage, command: Register): BrokerEpoch {
  const epoch = brokerEpoch(image.nextSlot);
  image.brokers.set(epoch, {
    epoch,
    nonce: command.nonce,
    nodeId: nodeIdFor(image, command),
    name: command.name,
    rack: command.rack,
    listeners: command.listeners,
    window: command.window,
    levelMax: command.levelMax,
    software: command.software,
    status: "live",
    draining: false,
    released: walPosition(0),
    end: null,
    holes: [],
    jumped: false,
    recoveryHash: new Uint8Array(0),
    below: 0,
    lastList: null,
  });
  forgetOldestSealed(image);
  return epoch;
}

/**
 * So many ids of brokers that are gone are kept for their names. Where each start has a new name, as pods with
 * a new address do, older ones are given again, so that clients do not meet ever new brokers.
 */
export const idsKeptMax = 16;

/** The id that a broker gets which registers in the next slot. */
export function nodeIdFor(state: ClusterState, wanted: Pick<Register, "nodeId" | "name">): NodeId {
  if (wanted.nodeId !== NO_NODE) return wanted.nodeId;
  const used = new Set<NodeId>();
  let before: NodeId | null = null;
  let gone = 0;
  // By epoch, the newest first.
  for (const broker of [...state.brokers.values()].reverse()) {
    if (broker.status !== "sealed" || ++gone <= idsKeptMax) used.add(broker.nodeId);
    if (wanted.name !== null && broker.name === wanted.name) before ??= broker.nodeId;
  }
  if (before !== null && !isTaken(state, before, wanted.name)) return before;
  let free = nodeId(1);
  while (used.has(free)) free = nodeId(free + 1);
  return free;
}

/** Whether a live broker of another name was told to have this id. */
function isTaken(state: ClusterState, id: NodeId, name: string | null): boolean {
  for (const broker of state.brokers.values()) {
    if (broker.status === "live" && broker.nodeId === id && broker.name !== name) return true;
  }
  return false;
}

/** Keeps the state bounded however often brokers restart; what is still depended on, or reports damage, stays. */
function forgetOldestSealed(image: ClusterImage): void {
  let excess = image.brokers.size - sealedBrokersMax;
  if (excess <= 0) return;
  const needed = new Set<BrokerEpoch>();
  for (const topic of image.topics.values())
    for (const partition of topic.partitions) {
      needed.add(partition.owner);
      for (const { epoch } of partition.dependencies) needed.add(epoch);
    }
  for (const broker of image.brokers.values()) {
    if (excess <= 0) return;
    if (broker.status !== "sealed" || broker.holes.length > 0 || needed.has(broker.epoch)) continue;
    image.brokers.delete(broker.epoch);
    excess--;
  }
}

export function fence(image: ClusterImage, command: Fence): VoidReason | null {
  const broker = image.brokers.get(command.epoch);
  if (broker?.status !== "live") return "epoch-not-live";
  image.brokers.set(broker.epoch, { ...broker, status: "fenced" });
  return null;
}

export function drain(image: ClusterImage, command: Drain): VoidReason | null {
  const broker = image.brokers.get(command.epoch);
  if (broker === undefined || !isLive(image, broker.epoch)) return "epoch-not-live";
  image.brokers.set(broker.epoch, { ...broker, draining: true });
  return null;
}

export function raiseLevel(image: ClusterImage, command: Level): VoidReason | null {
  if (command.level < image.level) return "level";
  for (const broker of image.brokers.values()) {
    if (broker.status === "live" && broker.levelMax < command.level) return "level";
  }
  image.level = command.level;
  return null;
}
