/**
 * `npm run build`: the published form in `dist/`, for Node 22.15 and newer, which does not run TypeScript by
 * itself. `tsc` writes the declarations, in `types/`; `esbuild` makes the program and what can be imported
 * into a few files in place of two hundred, because finding and reading modules is most of what a start
 * costs. Packages that are JavaScript alone go into those files, so that who installs Holdfast installs
 * little else; their licences go into `THIRD-PARTY-LICENSES`. `main.js` stays apart from the rest of the
 * program, since it turns on Node's compile cache, which only holds what is loaded after it.
 *
 *   node tools/build.ts [DIR]      into another directory than dist/
 */
import { spawnSync } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { build, type BuildOptions, type Metafile, type Plugin } from "esbuild";

const root = resolve(import.meta.dirname, "..");
const dist = resolve(process.argv[2] ?? join(root, "dist"));
/** Takes its name when it is whole, so that nobody starts half a build. */
const out = `${dist}.${process.pid}`;
process.on("exit", () => rmSync(out, { recursive: true, force: true }));

const { dependencies, optionalDependencies } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8"),
) as Readonly<Record<"dependencies" | "optionalDependencies", Readonly<Record<string, string>>>>;

/**
 * Some libraries are loaded when they are first used, by a `require` that no bundler can see through.
 * Those that are bundled get one that it does.
 */
const lazy: readonly (readonly [RegExp, readonly string[]])[] = [
  [/src[\\/]record[\\/]compression\.ts$/, ["snappyjs", "lz4js"]],
  [/src[\\/]coordinator[\\/]group[\\/]topic-regex\.ts$/, ["re2js"]],
  [/src[\\/]coordinator[\\/]transaction[\\/]listing\.ts$/, ["re2js"]],
];
const lazyLibraries: Plugin = {
  name: "lazy-libraries",
  setup(here) {
    for (const [filter, names] of lazy) {
      here.onLoad({ filter }, ({ path }) => {
        let contents = readFileSync(path, "utf8");
        for (const name of names) {
          const before = contents;
          contents = contents.replace(`load("${name}")`, `require("${name}")`);
          if (contents === before) return { errors: [{ text: `${name} is not loaded as it was` }] };
        }
        return { contents, loader: "ts" };
      });
    }
  },
};

const shared: BuildOptions = {
  absWorkingDir: root,
  bundle: true,
  splitting: true,
  metafile: true,
  chunkNames: "[name]-[hash]",
  // Native code cannot be bundled.
  external: [...Object.keys(dependencies), ...Object.keys(optionalDependencies)],
  // Packages in the older form of modules ask for those of Node by `require`.
  banner: {
    js: 'import { createRequire as $require } from "node:module"; const require = $require(import.meta.url);',
  },
  plugins: [lazyLibraries],
  format: "esm",
  platform: "node",
  target: "node22.15",
  // Whoever reads a stack trace of a broker should find the names of our code in it.
  minify: false,
  legalComments: "none",
  logLevel: "warning",
};

declare();
await bundle();
rmSync(dist, { recursive: true, force: true });
renameSync(out, dist);

function declare(): void {
  const { status } = spawnSync(
    join(root, "node_modules", ".bin", "tsc"),
    ["-p", "tsconfig.build.json", "--outDir", join(out, "types")],
    { cwd: root, stdio: "inherit" },
  );
  if (status !== 0) process.exit(1);
}

async function bundle(): Promise<void> {
  const entries = readdirSync(join(root, "src/entry"))
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => join("src/entry", name));
  const [program, library] = await Promise.all([
    build({ ...shared, entryPoints: ["src/cli/main.ts"], outdir: join(out, "cli") }),
    // Together, so that an error that one entry throws is the class that another one exports.
    build({ ...shared, entryPoints: entries, outdir: join(out, "entry") }),
  ]);
  chmodSync(join(out, "cli", "main.js"), 0o755);
  const packages = [program, library].flatMap(({ metafile }) => bundledPackages(metafile as Metafile));
  writeFileSync(join(out, "THIRD-PARTY-LICENSES"), licences([...new Set(packages)].sort()));
}

/** Directories in `node_modules` from which something went into the files. */
function bundledPackages({ inputs }: Metafile): string[] {
  return Object.keys(inputs).flatMap((path) => {
    const found = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path);
    return found === null ? [] : [found[0]];
  });
}

interface PackageFacts {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly author?: string | { readonly name: string };
}

function licences(packages: readonly string[]): string {
  const texts = packages.map((directory) => {
    const facts = JSON.parse(readFileSync(join(root, directory, "package.json"), "utf8")) as PackageFacts;
    const file = readdirSync(join(root, directory)).find((name) => /^licen[cs]e/i.test(name));
    const text =
      file === undefined ? statedLicence(facts) : readFileSync(join(root, directory, file), "utf8");
    return `${facts.name} ${facts.version} (${facts.license})\n\n${text.trim()}\n`;
  });
  return ["Holdfast contains these packages, each under its own licence.\n", ...texts].join(
    `\n${"-".repeat(72)}\n\n`,
  );
}

/** The ISC licence, for a package that names it and brings no text: its terms ask that the text goes along. */
function statedLicence({ license, author }: PackageFacts): string {
  const holder = typeof author === "object" ? author.name : author;
  if (license !== "ISC" || holder === undefined) {
    throw new Error(`A package under ${license} brings no text of its licence: it cannot be passed on`);
  }
  return `Copyright (c) ${holder}

Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby
granted, provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING
ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL,
DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS,
WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE
USE OR PERFORMANCE OF THIS SOFTWARE.`;
}
