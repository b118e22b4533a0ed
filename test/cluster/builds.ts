/** Holdfast as it was at a commit, to be started beside the present one: its sources under `.cache/upgrade`, with our packages. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory, repositoryRoot } from "../../tools/toolbox.ts";

/** The first build whose brokers handed partitions to each other under load without faults that are mended since. */
export const firstOfClusters = "4a4b737084dc0d4f95474ad274c9b515dcbe4706";

const formatLine = /^export const formatLevel = \d+;$/m;

/** Answers its program. `level`: changed to know format levels up to this one only, as a build before them would have. */
export function buildAt(commit: string, level: number | null = null): string {
  const git = (...args: readonly string[]): string =>
    execFileSync("git", args, { cwd: repositoryRoot, encoding: "utf8" }).trim();
  const id = git("rev-parse", "--verify", `${commit}^{commit}`);
  const directory = join(
    cacheDirectory,
    "upgrade",
    level === null ? id.slice(0, 12) : `${id.slice(0, 12)}-level-${level}`,
  );
  if (!existsSync(directory)) {
    const making = `${directory}.${process.pid}`;
    rmSync(making, { recursive: true, force: true });
    mkdirSync(making, { recursive: true });
    git("archive", `--output=${making}.tar`, id);
    execFileSync("tar", ["xf", `${making}.tar`, "-C", making]);
    rmSync(`${making}.tar`);
    symlinkSync(join(repositoryRoot, "node_modules"), join(making, "node_modules"));
    if (level !== null) changeLevel(join(making, "src/metadata/journal.ts"), level);
    renameSync(making, directory);
  }
  return join(directory, "src/cli/main.ts");
}

function changeLevel(path: string, level: number): void {
  const source = readFileSync(path, "utf8");
  if (!formatLine.test(source)) throw new Error(`${path} does not say which format level it knows`);
  writeFileSync(path, source.replace(formatLine, `export const formatLevel = ${level};`));
}
