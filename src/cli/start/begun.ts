/** Whether brokers have been here. */
import type { ObjectStore } from "../../base/ports.ts";
import { slotKey, snapshotPrefix } from "../../metadata/slot.ts";

/** The journal's first slot is gone only when a snapshot stands for it. */
export async function isBegun(store: ObjectStore): Promise<boolean> {
  return (await store.get(slotKey(0))) !== null || (await store.list(snapshotPrefix)).length > 0;
}
