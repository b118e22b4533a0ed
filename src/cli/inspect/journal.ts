/**
 * An object of the metadata journal: a slot with its commands, a snapshot, or a cut marker. Whether a slot
 * follows the one before it can only be seen beside it, and is checked where a whole directory is inspected.
 */
import { HoldfastError, MalformedError } from "../../base/errors.ts";
import { sha256 } from "../../io/sha256.ts";
import type { Command } from "../../metadata/commands.ts";
import { decodeSlot, decodeSnapshotObject } from "../../metadata/slot.ts";
import { BodyKind, bodyHeaderBytes, decodeBody } from "../../store/body.ts";
import { formatBytes, formatCount } from "../table.ts";
import { damage, type Finding } from "./finding.ts";
import { stateFindings } from "./state.ts";

const hashBytes = 32;

export function* journalFindings(key: string, bytes: Uint8Array): Generator<Finding, void, void> {
  try {
    const { kind, number, clusterId } = claims(bytes);
    if (kind === BodyKind.slot) yield* slotFindings(key, bytes, number, clusterId);
    else if (kind === BodyKind.snapshot) {
      const state = decodeSnapshotObject(bytes, { position: number, clusterId }, sha256);
      yield {
        facts: { kind: "snapshot", key, position: number, clusterId, bytes: bytes.byteLength },
        text: `snapshot ${key}: the cluster before slot ${number}, ${formatBytes(bytes.byteLength)}`,
      };
      yield* stateFindings(state);
    } else {
      decodeBody(bytes, { kind, number, clusterId }, sha256);
      yield {
        facts: { kind: "cut", key, chapter: number, clusterId },
        text: `cut ${key}: the slots of chapter ${number} were replaced by a snapshot`,
      };
    }
  } catch (cause) {
    if (!(cause instanceof HoldfastError)) throw cause;
    yield damage(key, cause.message);
  }
}

/** What the header says it is, checked by nobody yet. */
function claims(bytes: Uint8Array): {
  readonly kind: BodyKind;
  readonly number: number;
  readonly clusterId: string;
} {
  if (bytes.byteLength < bodyHeaderBytes) {
    throw new MalformedError(`it has ${bytes.byteLength} bytes, less than its header`);
  }
  const raw = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    kind: raw.readUInt8(6) as BodyKind,
    number: Number(raw.readBigInt64BE(48)),
    clusterId: raw.toString("latin1", 8, 40).replace(/\0+$/, ""),
  };
}

function* slotFindings(
  key: string,
  bytes: Uint8Array,
  slot: number,
  clusterId: string,
): Generator<Finding, void, void> {
  const previousHash = bytes.slice(bodyHeaderBytes, bodyHeaderBytes + hashBytes);
  const { content } = decodeSlot(bytes, { clusterId, nextSlot: slot, previousHash }, sha256);
  const { author, list, commands } = content;
  yield {
    facts: { kind: "slot", key, slot, author, list, clusterId, previousHash, commands: commands.length },
    text: `slot ${slot}: ${formatCount(commands.length)} commands of ${author < 0 ? "no epoch yet" : `epoch ${author}, list ${list}`}, ${formatBytes(bytes.byteLength)}`,
  };
  for (const command of commands) {
    yield {
      facts: { kind: "command", slot, command: command.kind, fields: command },
      text: `  ${commandText(command)}`,
    };
  }
}

function commandText(command: Command): string {
  switch (command.kind) {
    case "flush": {
      const segments = command.rows.filter((row) => row.segment !== null).length;
      const rows = command.rows.map(
        (row) =>
          `\n    ${row.topicId}-${row.partition} flushed from ${row.from} to ${row.to}${row.segment === null ? "" : ` in ${row.segment.object}`}`,
      );
      return `flush: ${segments} segments, the log is released below position ${formatCount(command.release)}${rows.join("")}`;
    }
    case "topic":
      return `topic ${command.name} (${command.id}), ${command.partitionCount} partitions, ${settingsText(command.configs)}`;
    case "register":
      return `register node ${command.nodeId}, ${command.software}`;
    case "fence":
      return `fence epoch ${command.epoch}`;
    case "recover":
      return `recover epoch ${command.epoch}: its log ends at position ${formatCount(command.end)}, ${command.holes.length} damaged ranges${command.jumped ? ", offsets jumped" : ""}`;
    default: {
      const { kind, ...fields } = command;
      return `${kind} ${JSON.stringify(fields)}`;
    }
  }
}

function settingsText(configs: readonly { readonly name: string; readonly value: string }[]): string {
  return configs.length === 0
    ? "no settings of its own"
    : configs.map(({ name, value }) => `${name}=${value}`).join(" ");
}
