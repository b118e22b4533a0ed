/**
 * What no compiler checks: the layer table, the length of files, ambient clocks and randomness, links in
 * documents, and a README in each folder. Prints one line per finding; exits with 1 if there is any.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { layers, sourceLinesMax, tables } from "./layers.ts";

const readmeLinesMax = 30;
const findings: string[] = [];
const tracked = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  encoding: "utf8",
})
  .split("\n")
  .filter((path) => path !== "" && existsSync(path));

for (const path of tracked) {
  if (path.startsWith("src/") && path.endsWith(".ts")) checkSource(path);
  if (path.endsWith(".md")) checkLinks(path);
}

function checkSource(path: string): void {
  const text = readFileSync(path, "utf8");
  const lines = text.split("\n");
  const isTest = /\.(test|contract)\.ts$/.test(path);
  if (!isTest && !tables.includes(path) && lines.length > sourceLinesMax) {
    findings.push(`${path}: ${lines.length} lines; look for the missing noun (at most ${sourceLinesMax})`);
  }
  const [, folder, ...rest] = path.split("/") as [string, string, ...string[]];
  const layer = layers[folder];
  if (layer === undefined) {
    if (rest.length > 0) findings.push(`${path}: the folder ${folder} is not in tools/layers.ts`);
    return;
  }
  if (isTest) return;
  for (const match of text.matchAll(/^(?:import|export)\b[^;]*?\bfrom "([^"]+)"|\bimport\("([^"]+)"\)/gm)) {
    const target = (match[1] ?? match[2]) as string;
    checkImport(path, folder, rest.join("/"), target);
  }
  if (layer.ambient) return;
  lines.forEach((line, index) => {
    if (/^\s*(\/\/|\*|\/\*)/.test(line)) return;
    const found =
      /(?<!")\b(Date\.now|new Date\(\)|Math\.random|setTimeout|setInterval|setImmediate|performance\.now|process\.\w)/.exec(
        line,
      );
    if (found !== null)
      findings.push(`${path}:${index + 1}: ${found[1]} enters through a port (base/ports.ts)`);
  });
}

function checkImport(path: string, folder: string, file: string, target: string): void {
  const layer = layers[folder] as (typeof layers)[string];
  if (target.startsWith("node:")) {
    const allowed = layer.node === "all" ? [target] : (layer.node[file] ?? []);
    if (!allowed.includes(target)) findings.push(`${path}: ${folder}/ must not import ${target}`);
    return;
  }
  if (!target.startsWith(".")) return;
  const to = normalize(join(dirname(path), target));
  const toFolder = to.split("/")[1] as string;
  if (toFolder !== folder && !layer.imports.includes(toFolder)) {
    findings.push(`${path}: ${folder}/ must not import ${to} (tools/layers.ts)`);
  }
}

function checkLinks(path: string): void {
  const text = readFileSync(path, "utf8");
  for (const match of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
    const target = match[1] as string;
    if (/^[a-z]+:/.test(target)) continue;
    if (!existsSync(join(dirname(path), target))) findings.push(`${path}: the link ${target} leads nowhere`);
  }
}

for (const folder of Object.keys(layers)) {
  const path = `src/${folder}/README.md`;
  const lines = existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n").length : 0;
  if (lines === 0 || lines > readmeLinesMax) {
    findings.push(`${path}: says in at most ${readmeLinesMax} lines what the folder is for`);
  }
}

for (const finding of findings) console.log(finding);
console.log(`tidy: ${tracked.length} files, ${findings.length} findings`);
process.exitCode = findings.length === 0 ? 0 : 1;
