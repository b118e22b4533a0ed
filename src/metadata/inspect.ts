/**
 * Looks at every object of the journal, also those that a start does not need because a snapshot stands
 * for them, and names what is damaged. Changes nothing. For a scrubber, and for people with a doubt.
 */
import { MalformedError } from "../base/errors.ts";
import { BodyKind, decodeBody } from "../store/body.ts";
import { read, untilAnswered } from "../store/create.ts";
import type { ReplayPorts } from "./replay.ts";
import { cutPrefix, decodeSnapshotObject, numberIn, slotPrefix, snapshotPrefix } from "./slot.ts";

export interface JournalFinding {
  readonly object: string;
  /** A clause: "its body fails the SHA-256". */
  readonly reason: string;
}

export async function inspectJournal(
  ports: ReplayPorts,
  clusterId: string,
): Promise<{ readonly objects: number; readonly findings: readonly JournalFinding[] }> {
  const findings: JournalFinding[] = [];
  let objects = 0;
  for (const prefix of [slotPrefix, snapshotPrefix, cutPrefix]) {
    for (const { key } of await untilAnswered(ports.env, () => ports.store.list(prefix))) {
      const bytes = await read(ports.store, key, ports.env);
      // Deleted since the listing, by a truncation.
      if (bytes === null) continue;
      objects++;
      const reason = reasonAgainst(ports, clusterId, prefix, key, bytes);
      if (reason !== null) findings.push({ object: key, reason });
    }
  }
  return { objects, findings };
}

function reasonAgainst(
  { sha256 }: ReplayPorts,
  clusterId: string,
  prefix: string,
  key: string,
  bytes: Uint8Array,
): string | null {
  const number = numberIn(key, prefix);
  if (number === null) return "its name is not one of the journal's";
  try {
    if (prefix === snapshotPrefix) decodeSnapshotObject(bytes, { position: number, clusterId }, sha256);
    else {
      const kind = prefix === slotPrefix ? BodyKind.slot : BodyKind.cut;
      decodeBody(bytes, { kind, number, clusterId }, sha256);
    }
    return null;
  } catch (error) {
    if (error instanceof MalformedError) return error.message;
    throw error;
  }
}
