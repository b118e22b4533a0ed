/**
 * `npm run build`: the published form in `dist/`, for Node 22.15 and newer, which does not run TypeScript by
 * itself. `tsc` writes every module with its declarations; then the program becomes a few files in place of
 * two hundred, because finding and reading modules is most of what a start costs. Packages stay outside:
 * some are native, and the others are loaded only when they are first used. `main.js` stays apart from the
 * rest of the program, since it turns on Node's compile cache, which only holds what is loaded after it.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";

const root = resolve(import.meta.dirname, "..");
const dist = join(root, "dist");
/** Takes its name when it is whole, so that nobody starts half a build. */
const out = join(root, `dist.${process.pid}`);
process.on("exit", () => rmSync(out, { recursive: true, force: true }));

const { status } = spawnSync(
  join(root, "node_modules", ".bin", "tsc"),
  ["-p", "tsconfig.build.json", "--outDir", out],
  { cwd: root, stdio: "inherit" },
);
if (status !== 0) process.exit(1);

const program = join(out, "cli");
rmSync(program, { recursive: true });
await build({
  absWorkingDir: root,
  entryPoints: ["src/cli/main.ts"],
  outdir: program,
  bundle: true,
  splitting: true,
  chunkNames: "[name]-[hash]",
  packages: "external",
  format: "esm",
  platform: "node",
  target: "node22.15",
  // Whoever reads a stack trace of a broker should find the names of our code in it.
  minify: false,
  legalComments: "none",
  logLevel: "warning",
});
chmodSync(join(program, "main.js"), 0o755);
rmSync(dist, { recursive: true, force: true });
renameSync(out, dist);
