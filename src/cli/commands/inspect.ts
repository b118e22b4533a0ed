/**
 * `holdfast inspect PATH`: what the bytes on the disk say, as text or JSON lines. Reads only, takes no lock,
 * and works while a broker runs. Whatever is damaged is named, and the next thing is read all the same. Ends
 * with 1 when there was damage.
 */
import { createReadStream } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { basename, relative, resolve } from "node:path";
import { buffer } from "node:stream/consumers";
import { RefusedError } from "../../base/errors.ts";
import { loadNativeCrc32c } from "../../io/crc32c-native.ts";
import { parseSlotKey } from "../../log/object-wal-format.ts";
import { parseObjectKey } from "../../log/segment-format.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { DataDirectory, dataDirectoryOf } from "../inspect/data-directory.ts";
import { type Depth, type Finding, isDamage, toJson } from "../inspect/finding.ts";
import { journalFindings } from "../inspect/journal.ts";
import { objectFindings } from "../inspect/segments.ts";
import { slotFindings } from "../inspect/slots.ts";
import { walFindings, walNameOf } from "../inspect/wal.ts";
import { paintFor } from "../terminal.ts";

export interface InspectOptions {
  readonly json?: boolean;
  readonly batches?: boolean;
  readonly records?: boolean;
  /** Read everything that the store of a data directory holds. */
  readonly check?: boolean;
}

/** A file that is read whole: an object of the store has at most a few times a topic's `segment.bytes`. */
const wholeBytesMax = 4 * 1024 * 1024 * 1024 - 1;

export async function inspect({ terminal, args, options }: Invocation<InspectOptions>): Promise<ExitCode> {
  loadNativeCrc32c();
  const paint = paintFor(terminal.stdout, terminal.env);
  let damaged = false;
  for (const path of args) {
    for await (const finding of findingsOf(resolve(path), path, options)) {
      damaged ||= isDamage(finding);
      const text = isDamage(finding) ? paint("red", finding.text) : finding.text;
      await terminal.stdout.write(options.json === true ? toJson(finding.facts) : `${text}\n`);
    }
  }
  return damaged ? exitCodes.failed.code : exitCodes.done.code;
}

async function* findingsOf(
  path: string,
  given: string,
  options: InspectOptions,
): AsyncGenerator<Finding, void, void> {
  const facts = await factsOf(path, given);
  const root = await dataDirectoryOf(path);
  if (facts.isDirectory()) {
    if (root === null) {
      throw new RefusedError(
        `${given} is not a data directory of Holdfast: it has no store/meta. Give the directory that a broker was started with (--data), or a file in it.`,
      );
    }
    yield* (await DataDirectory.read(root)).findings(options.check === true);
    return;
  }
  const depth = {
    batches: options.batches === true || options.records === true,
    records: options.records === true,
  };
  yield* fileFindings(path, given, root, depth);
}

async function factsOf(path: string, given: string) {
  try {
    return await stat(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "does not exist" : `cannot be read (${code})`;
    throw new RefusedError(`${given} ${why}.`, { cause });
  }
}

async function* fileFindings(
  path: string,
  given: string,
  root: string | null,
  depth: Depth,
): AsyncGenerator<Finding, void, void> {
  // Only to know topics by name, so that what is damaged there is not told here.
  const directory = root === null ? null : await DataDirectory.read(root);
  const topicName = directory?.topicName ?? ((id: string) => id);
  const shownAs = root === null ? given : relative(root, path);
  const magic = await magicOf(path);
  if (magic === "HFWL" || (magic !== "HFMO" && magic !== "HFOB" && walNameOf(path) !== null)) {
    const handle = await open(path, "r");
    try {
      yield* walFindings({ handle, path: shownAs, name: walNameOf(path) }, depth, topicName);
    } finally {
      await handle.close();
    }
    return;
  }
  const { size } = await stat(path);
  if (size > wholeBytesMax) throw new RefusedError(`${given} is too large to be a file of Holdfast.`);
  const key = keyOf(shownAs);
  if (magic === "HFMO" || /^(?:meta|snap|cut)\//.test(key)) yield* journalFindings(key, await readFile(path));
  else if (magic === "HFWO" || parseSlotKey(key) !== null) {
    const named = parseSlotKey(key) === null ? null : key;
    yield* slotFindings({ key: named, bytes: await readFile(path) }, depth, topicName);
  } else if (magic === "HFOB" || parseObjectKey(key) !== null) {
    const named = parseObjectKey(key) === null ? null : key;
    const list = directory?.listOf(key) ?? null;
    yield* objectFindings({ key: named, bytes: await readFile(path), list }, depth, topicName);
  } else {
    throw new RefusedError(
      `${given} is no file that Holdfast writes: neither a log (wal/), nor an object of the store (store/), by its name or by its first bytes.`,
    );
  }
}

/** `store/seg/…/….object` is the key `seg/…/…`, and so with the others. */
function keyOf(path: string): string {
  const found = /(?:^|\/)((?:seg\/\d+|wal\/\d+|meta|snap|cut)\/\d+)\.object$/.exec(path);
  return found?.[1] ?? basename(path);
}

async function magicOf(path: string): Promise<string> {
  const start = await buffer(createReadStream(path, { end: 3 }));
  return start.toString("latin1");
}
