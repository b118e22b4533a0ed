/**
 * The package as somebody else gets it: packed by npm, installed into a directory of its own, imported,
 * compiled against. What it must be is written in `docs/decisions/published-form.md`: few packages, no
 * install scripts, declarations that compile without `skipLibCheck`, and a client without a broker in it.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { repositoryRoot } from "./toolbox.ts";

/** Of everything that is installed, Holdfast included. */
const packagesMax = 5;

export interface Installed {
  /** Where somebody's own program would be. */
  readonly directory: string;
  /** The installed package. */
  readonly holdfast: string;
}

/** Packs what `dist/` holds now and installs it. Takes native packages from the registry. */
export function installPacked(scratch: string): Installed {
  const packed = run(
    "npm",
    ["pack", "--json", "--ignore-scripts", "--pack-destination", scratch],
    repositoryRoot,
  );
  const [{ filename, size, unpackedSize, entryCount }] = JSON.parse(packed) as [
    Readonly<{ filename: string; size: number; unpackedSize: number; entryCount: number }>,
  ];
  const directory = join(scratch, "somebody");
  mkdirSync(directory);
  writeFileSync(join(directory, "package.json"), JSON.stringify({ private: true, type: "module" }));
  run("npm", ["install", "--no-audit", "--no-fund", join(scratch, filename)], directory);
  const lock = JSON.parse(readFileSync(join(directory, "node_modules", ".package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, { readonly hasInstallScript?: boolean }>>;
  };
  const packages = Object.keys(lock.packages).filter((path) => isInstalled(join(directory, path)));
  assert(packages.length <= packagesMax, `${packages.length} packages come with it: ${packages.join(", ")}`);
  const scripted = packages.filter((path) => lock.packages[path]?.hasInstallScript === true);
  assert.deepEqual(scripted, [], "no package has an install script");
  console.log(
    `packed ${kilobytes(size)} (${entryCount} files, ${kilobytes(unpackedSize)} unpacked); ` +
      `${packages.length} packages installed: ${packages.map((path) => relative("node_modules", path)).join(", ")}`,
  );
  return { directory, holdfast: join(directory, "node_modules", "holdfast") };
}

const kilobytes = (bytes: number): string => `${Math.round(bytes / 1000)} kB`;

/** npm lists the packages of other platforms as well. */
function isInstalled(path: string): boolean {
  try {
    return readdirSync(path).length > 0;
  } catch {
    return false;
  }
}

/** What can be imported, by the name a program writes: `holdfast/client`. */
export function entryNames({ holdfast }: Installed): string[] {
  return Object.keys(exportsOf(holdfast))
    .filter((name) => name !== "./package.json")
    .map((name) => join("holdfast", name));
}

function exportsOf(holdfast: string): Readonly<Record<string, { readonly default: string }>> {
  const { exports } = JSON.parse(readFileSync(join(holdfast, "package.json"), "utf8")) as {
    readonly exports: Readonly<Record<string, { readonly default: string }>>;
  };
  return exports;
}

/** Median ms that `import` of an entry takes in a process that has just begun; its compile cache is filled before. */
export function importMs(node: string, { directory }: Installed, entry: string, runs: number): number {
  const program = join(directory, "import.mjs");
  writeFileSync(
    program,
    `import module from "node:module";
module.enableCompileCache(${JSON.stringify(join(directory, ".cache"))});
const begun = performance.now();
const entry = await import(${JSON.stringify(entry)});
const ms = performance.now() - begun;
if (Object.keys(entry).length === 0) throw new Error("it exports nothing");
process.stdout.write(String(ms));
`,
  );
  const times = Array.from({ length: runs + 1 }, () => Number(run(node, [program], directory)));
  return median(times.slice(1));
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

/** Folders of `src/` from which something is in an entry or in what it imports, as the bundler noted it. */
export function roomsIn({ holdfast }: Installed, entry: string): string[] {
  const name = `./${relative("holdfast", entry)}`;
  const rooms = new Set<string>();
  const seen = new Set<string>();
  const waiting = [join(holdfast, exportsOf(holdfast)[name]?.default as string)];
  for (const path of waiting) {
    if (seen.has(path)) continue;
    seen.add(path);
    const text = readFileSync(path, "utf8");
    for (const [, room] of text.matchAll(/^\s*\/\/ src\/([a-z]+)\//gm)) rooms.add(room as string);
    for (const [, from] of text.matchAll(/^(?:import|\} from|export .* from)\b[^"\n]*"(\.[^"]+)"/gm)) {
      waiting.push(join(dirname(path), from as string));
    }
  }
  return [...rooms].sort();
}

/** Compiles a program against the declarations, all of them checked, and runs it. Returns what it printed. */
export function runProgram(node: string, { directory }: Installed, source: string): string {
  const own = join(repositoryRoot, "node_modules");
  mkdirSync(join(directory, "node_modules", "@types"), { recursive: true });
  for (const name of ["@types/node", "undici-types"]) {
    symlinkSync(join(own, name), join(directory, "node_modules", name));
  }
  writeFileSync(join(directory, "program.ts"), source);
  writeFileSync(
    join(directory, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        target: "es2022",
        lib: ["es2024", "esnext.disposable"],
        module: "nodenext",
        types: ["node"],
        strict: true,
        skipLibCheck: false,
        // Node 22 has no `await using` yet.
        outDir: join(directory, "made"),
      },
      files: ["program.ts"],
    }),
  );
  run(join(own, ".bin", "tsc"), ["-p", directory], directory);
  return run(node, [join(directory, "made", "program.js")], directory);
}

/** What it printed. A failure carries everything that it said. */
export function run(command: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (cause) {
    const { stdout, stderr } = cause as { readonly stdout: string; readonly stderr: string };
    throw new Error(`${command} ${args.join(" ")} failed\n${stdout}\n${stderr}`, { cause });
  }
}
