/** Runs named commands one after another and prints how long each took; the first failure ends the run. */
import { spawnSync } from "node:child_process";
import { delimiter, join } from "node:path";

export interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly env?: { readonly [name: string]: string };
}

export function runSteps(steps: readonly Step[]): void {
  const path = `${join(process.cwd(), "node_modules", ".bin")}${delimiter}${process.env["PATH"] ?? ""}`;
  for (const { name, command, env } of steps) {
    const begun = performance.now();
    const [program, ...args] = command;
    const { status, signal } = spawnSync(program, args, {
      stdio: "inherit",
      env: { ...process.env, ...env, PATH: path },
    });
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    if (status !== 0) {
      console.error(
        `✗ ${name} failed after ${seconds} s (${signal ?? `exit ${status}`}): ${command.join(" ")}`,
      );
      process.exit(1);
    }
    console.log(`✓ ${name} ${seconds} s`);
  }
}
