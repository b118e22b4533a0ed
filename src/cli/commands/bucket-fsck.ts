/**
 * `holdfast bucket fsck`: whether everything that the cluster in a store needs is there and sound, and what is there
 * for nobody. Brokers may be at work. Changes nothing, unless orphans are to be deleted. Ends with 1 when something
 * is missing or damaged.
 */
import type { CheckFinding, CheckSummary } from "../../metadata/check/finding.ts";
import { checkStore } from "../../metadata/check/store.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { type NamedStore, openNamedStore, type StoreOptions } from "../named-store.ts";
import { formatBytes, formatCount } from "../table.ts";
import { paintFor, type Terminal } from "../terminal.ts";

export interface BucketFsckOptions extends StoreOptions {
  readonly quick?: boolean;
  readonly deleteOrphans?: boolean;
  readonly json?: boolean;
}

/** Orphans that are deleted together. */
const deletesAtOnce = 16;

export async function bucketFsck({
  terminal,
  args,
  options,
}: Invocation<BucketFsckOptions>): Promise<ExitCode> {
  const [name = ""] = args;
  const opened = await openNamedStore(name, options, terminal.env);
  try {
    const { damages } = await walk(opened, name, terminal, options);
    return damages > 0 ? exitCodes.failed.code : exitCodes.done.code;
  } finally {
    opened.close();
  }
}

async function walk(
  opened: NamedStore,
  name: string,
  terminal: Terminal,
  options: BucketFsckOptions,
): Promise<CheckSummary> {
  const paint = paintFor(terminal.stdout, terminal.env);
  const orphans: string[] = [];
  for await (const finding of checkStore(opened.ports, { contents: options.quick !== true })) {
    if (finding.kind === "orphan" && options.deleteOrphans === true) orphans.push(finding.object);
    if (options.json === true) await terminal.stdout.write(`${JSON.stringify(finding)}\n`);
    else if (finding.kind !== "summary") {
      const text = textOf(finding);
      await terminal.stdout.write(`${finding.kind === "damage" ? paint("red", text) : text}\n`);
    }
    if (finding.kind !== "summary") continue;
    const deleted = await deleteAll(opened, orphans);
    if (options.json === true) {
      if (options.deleteOrphans === true) {
        await terminal.stdout.write(`${JSON.stringify({ kind: "deleted", orphans: deleted })}\n`);
      }
    } else await terminal.stdout.write(summaryOf(name, finding, options));
    return finding;
  }
  throw new Error("a check ends with its summary");
}

/** Nothing can name them again, so nobody is asked a second time. */
async function deleteAll(opened: NamedStore, keys: readonly string[]): Promise<number> {
  for (let at = 0; at < keys.length; at += deletesAtOnce) {
    await Promise.all(keys.slice(at, at + deletesAtOnce).map((key) => opened.delete(key)));
  }
  return keys.length;
}

function textOf(finding: Exclude<CheckFinding, CheckSummary>): string {
  return finding.kind === "damage"
    ? `DAMAGE  ${finding.object}: ${finding.reason}`
    : `orphan  ${finding.object}, ${formatBytes(finding.bytes)}`;
}

const plural = (count: number, one: string, many = `${one}s`): string =>
  `${formatCount(count)} ${count === 1 ? one : many}`;

function summaryOf(name: string, found: CheckSummary, { quick, deleteOrphans }: BucketFsckOptions): string {
  const lines = [
    `cluster ${found.clusterId}: ${plural(found.topics, "topic")}, ${plural(found.partitions, "partition")}, ${plural(found.slots, "slot")} of the journal`,
    `read: ${plural(found.segments, "segment")}, ${formatBytes(found.readBytes)}${quick === true ? " (only what says where records are)" : ""}, and ${plural(found.walSlots, "needed slot")} of logs; the store holds ${plural(found.objects, "object")}, ${formatBytes(found.bytes)}`,
  ];
  if (found.pending > 0) {
    lines.push(
      `${plural(found.pending, "object is", "objects are")} named by nothing so far and may be soon: left alone`,
    );
  }
  if (found.unknown > 0) {
    lines.push(
      `${plural(found.unknown, "object is", "objects are")} of brokers that the journal has forgotten: left alone`,
    );
  }
  if (found.orphans > 0) {
    const what = `${plural(found.orphans, "orphan")}, ${formatBytes(found.orphanBytes)}`;
    lines.push(
      deleteOrphans === true
        ? `deleted: ${what}`
        : `${what}: nothing needs them, and brokers delete them by themselves; --delete-orphans does it now`,
    );
  }
  const verdict =
    found.damages > 0
      ? `${plural(found.damages, "thing is", "things are")} missing or damaged. Put the named objects back from a copy of the store; until then readers of those offsets are told so.`
      : `${name} has everything that the cluster needs, ${quick === true ? "as far as was read" : "and every byte of it is as it was written"}.`;
  return `\n${lines.join("\n")}\n${verdict}\n`;
}
