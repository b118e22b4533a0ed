#!/usr/bin/env node
/**
 * The program. This file stays light, so that `--help` and a start are there at once; a command is loaded when
 * it is asked for. A refusal is one sentence on stderr and an exit code that is not 0 (exit-codes.ts).
 */
import module from "node:module";

/** One for the WAL, one to spare, and enough for cold reads beside flushing. */
const poolThreads = "8";

/** The first version with zstd. */
const nodeLeast = [22, 15] as const;

async function main(args: readonly string[]): Promise<void> {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < nodeLeast[0] || (major === nodeLeast[0] && minor < nodeLeast[1])) {
    process.stderr.write(
      `Holdfast needs Node ${nodeLeast.join(".")} or newer, and this is Node ${process.versions.node}: install a newer one.\n`,
    );
    process.exitCode = 1;
    return;
  }
  // Before anything uses Node's pool of threads, which is made once and for all.
  process.env["UV_THREADPOOL_SIZE"] ??= poolThreads;
  module.enableCompileCache?.();
  const startsBroker = args[0] === "start" || args[0]?.startsWith("-") !== false;
  if (startsBroker && !args.includes("--help") && !args.includes("-h")) {
    if (args.includes("--version") || args.includes("-v")) {
      const { software } = await import("./software.ts");
      process.stdout.write(`${software.name} ${software.version}\n`);
      return;
    }
    const { start } = await import("./commands/start.ts");
    await start(args[0] === "start" ? args.slice(1) : args);
    return;
  }
  const [{ runProgram }, { openTerminal }] = await Promise.all([
    import("./program.ts"),
    import("./terminal.ts"),
  ]);
  process.exitCode = await runProgram(args, openTerminal());
}

await main(process.argv.slice(2));
