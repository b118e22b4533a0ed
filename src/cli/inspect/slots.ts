/** An object of a log that brokers of one store write: a slot with entries, or the seal at which a log ends. */
import { HoldfastError } from "../../base/errors.ts";
import { decodeSlot, nameOfSlot, slotKey } from "../../log/object-wal-format.ts";
import { formatBytes, formatCount } from "../table.ts";
import { entryFindings } from "./entries.ts";
import { damage, type Depth, type Finding, type TopicNames } from "./finding.ts";

/** `key`: where the object lies; null: its path does not tell. */
export function* slotFindings(
  { key, bytes }: { readonly key: string | null; readonly bytes: Uint8Array },
  depth: Depth,
  topicName: TopicNames,
): Generator<Finding, void, void> {
  const name = nameOfSlot(bytes);
  if (name === null) {
    yield damage(key ?? "object", "neither copy of its header can be read");
    return;
  }
  const own = slotKey(name.epoch, name.slot);
  const facts = { key: key ?? own, ...name, bytes: bytes.byteLength };
  try {
    const content = decodeSlot(name, bytes);
    const where = `slot ${name.slot} of epoch ${name.epoch}`;
    if (content.kind === "seal") {
      yield {
        facts: { kind: "seal", ...facts },
        text: `seal ${facts.key}: the log of epoch ${name.epoch} has no slot from ${name.slot} on, cluster ${name.clusterId}`,
      };
    } else {
      yield {
        facts: { kind: "slot", ...facts, entries: content.entries.length },
        text: `${where} ${facts.key}: ${formatCount(content.entries.length)} entries, ${formatBytes(bytes.byteLength)}, cluster ${name.clusterId}`,
      };
      if (depth.batches) {
        for (const entry of content.entries) yield* entryFindings(entry, depth, topicName, where);
      }
      for (const { topicId, partition, from, to } of content.holes) {
        yield damage(
          facts.key,
          `lost are offsets ${from} to ${to - 1} of ${topicName(topicId)}-${partition}`,
        );
      }
      if (content.isNameless) yield damage(facts.key, "entries are lost that nothing names");
    }
  } catch (cause) {
    if (!(cause instanceof HoldfastError)) throw cause;
    yield damage(facts.key, cause.message);
  }
  if (key !== null && key !== own) yield damage(key, `by its own header it is ${own}`);
}
