/**
 * A copy of the sources with one rule broken: some places in them are changed, and a proof runs on what comes of it.
 * It must fail there, or it would not notice if the rule were lost one day. A change that no longer fits the sources
 * is an error, too. The sources themselves are never touched.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Change {
  /** Below `src/`. */
  readonly file: string;
  /** Stands there once. */
  readonly from: string;
  readonly to: string;
}

export interface Outcome {
  /** Null: it was ended from outside. */
  readonly code: number | null;
  /** All that it wrote. */
  readonly told: string;
}

/** What a Node program of the sources, named by the first of `args`, does in the changed copy. */
export async function runBroken(
  changes: readonly Change[],
  args: readonly string[],
  patienceMs?: number,
): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-broken-"));
  try {
    mkdirSync(join(directory, "test"));
    for (const path of ["src", "test/proof", "package.json"])
      cpSync(path, join(directory, path), { recursive: true });
    symlinkSync(join(process.cwd(), "node_modules"), join(directory, "node_modules"));
    for (const [path, text] of changed(changes)) writeFileSync(join(directory, path), text);
    return await run(directory, args, patienceMs);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The files that the changes alter, as they are then. Throws when one no longer fits the sources. */
export function changed(changes: readonly Change[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const { file, from, to } of changes) {
    const path = join("src", file);
    const parts = (texts.get(path) ?? readFileSync(path, "utf8")).split(from);
    if (parts.length !== 2) throw new Error(`${path} has ${parts.length - 1} places that read: ${from}`);
    texts.set(path, parts.join(to));
  }
  return texts;
}

/** A broken program may go round and round for ever: after `patienceMs` it is ended. */
function run(cwd: string, args: readonly string[], patienceMs?: number): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd,
      // A copy is never met again, so that nothing that was compiled of it is worth keeping.
      env: { ...process.env, NODE_DISABLE_COMPILE_CACHE: "1" },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: patienceMs,
      killSignal: "SIGKILL",
    });
    let told = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk) => void (told += String(chunk)));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, told }));
  });
}
