/**
 * Kafka's own definitions of its messages, read out of the published client jar. The jar is fetched from
 * the Maven repository (`MAVEN_REPOSITORY` names a mirror), checked against a known digest and kept in
 * `.cache/`. A jar that cannot be had is an error: a comparison must never pass because it had nothing
 * to compare with.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { inflateRawSync } from "node:zlib";

const version = "4.4.0";
const sha256 = "1ab07317eb6633241392449d329dbdc5d9251e6ffc4926860f42dd966e88bdf9";
const path = `org/apache/kafka/kafka-clients/${version}/kafka-clients-${version}.jar`;
const cacheDirectory = resolve(import.meta.dirname, "../../.cache/spec");

export interface MessageJson {
  readonly apiKey?: number;
  readonly type: "request" | "response" | "header" | "data";
  readonly name: string;
  readonly validVersions: string;
  readonly flexibleVersions: string;
  readonly latestVersionUnstable?: boolean;
  readonly fields: readonly FieldJson[];
  readonly commonStructs?: readonly { readonly name: string; readonly fields: readonly FieldJson[] }[];
}

export interface FieldJson {
  readonly name: string;
  readonly type: string;
  readonly versions: string;
  readonly nullableVersions?: string;
  readonly taggedVersions?: string;
  readonly flexibleVersions?: string;
  readonly tag?: number;
  readonly default?: string | number | boolean;
  readonly ignorable?: boolean;
  readonly fields?: readonly FieldJson[];
}

/** All messages by name, for example `ProduceRequest`. */
export async function kafkaMessages(): Promise<ReadonlyMap<string, MessageJson>> {
  const messages = new Map<string, MessageJson>();
  for (const [name, read] of zipEntries(await kafkaJar())) {
    if (!name.startsWith("common/message/") || !name.endsWith(".json")) continue;
    const message = JSON.parse(withoutComments(read().toString("utf8"))) as MessageJson;
    messages.set(message.name, message);
  }
  if (messages.size < 100) throw new Error(`the jar holds ${messages.size} messages, it should be far more`);
  return messages;
}

async function kafkaJar(): Promise<Buffer> {
  const cached = join(cacheDirectory, `kafka-clients-${version}.jar`);
  if (existsSync(cached)) {
    const jar = readFileSync(cached);
    if (digest(jar) === sha256) return jar;
  }
  const repository = process.env["MAVEN_REPOSITORY"] ?? "https://repo.maven.apache.org/maven2";
  const url = `${repository.replace(/\/$/, "")}/${path}`;
  const response = await fetch(url, { signal: AbortSignal.timeout(120_000) });
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  const jar = Buffer.from(await response.arrayBuffer());
  if (digest(jar) !== sha256) throw new Error(`${url} is not the jar that was expected: ${digest(jar)}`);
  mkdirSync(cacheDirectory, { recursive: true });
  writeFileSync(`${cached}.${process.pid}`, jar);
  renameSync(`${cached}.${process.pid}`, cached);
  return jar;
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Entries of a zip by its central directory (PKWARE APPNOTE 4.3.12); stored or deflated, not zip64. */
function* zipEntries(zip: Buffer): Generator<[name: string, read: () => Buffer]> {
  const end = zip.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  if (end < 0) throw new Error("the jar has no central directory");
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const method = zip.readUInt16LE(at + 10);
    const compressed = zip.readUInt32LE(at + 20);
    const nameLength = zip.readUInt16LE(at + 28);
    const local = zip.readUInt32LE(at + 42);
    const name = zip.toString("utf8", at + 46, at + 46 + nameLength);
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
    yield [
      name,
      () => {
        const data = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
        const bytes = zip.subarray(data, data + compressed);
        return method === 0 ? bytes : inflateRawSync(bytes);
      },
    ];
  }
}

/** The definitions are JSON with line comments. */
function withoutComments(text: string): string {
  return text.replace(/("(?:[^"\\]|\\.)*")|\/\/[^\n]*/g, (_, string: string | undefined) => string ?? "");
}
