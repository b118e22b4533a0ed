#!/usr/bin/env node
/**
 * The program. This file stays light, so that `--help` is there at once; a command is loaded when it is
 * asked for. A refusal is one sentence on stderr and an exit code that is not 0: 2 for the command line, 1 for the rest.
 */
import module from "node:module";

const help = `Usage: holdfast [start] [options]

Starts a broker that speaks the Kafka protocol. An acknowledged message is on disk.

Options:
  --listen HOST:PORT     for Kafka clients (default 127.0.0.1:9092; port 0 takes a free one)
  --data DIR             where everything is kept (default ./holdfast-data)
  --http HOST:PORT       metrics and health (default port 9093 on the same host; a free one when --listen has port 0)
  --advertise HOST:PORT  the address that clients are told (default: the one that they connected to)
  --config FILE          settings as key=value lines, under Kafka's names
  --set KEY=VALUE        one setting; may be repeated, and counts more than the file
  --insecure             listen on an address beyond this machine although there is no authentication
  -h, --help             this text
  -v, --version          the version
`;

/** One for the WAL, one to spare, and enough for cold reads beside flushing. */
const poolThreads = "8";

async function main(args: readonly string[]): Promise<void> {
  // Before anything uses Node's pool of threads, which is made once and for all.
  process.env["UV_THREADPOOL_SIZE"] ??= poolThreads;
  module.enableCompileCache?.();
  if (args.includes("--help") || args.includes("-h") || args[0] === "help") {
    process.stdout.write(help);
    return;
  }
  if (args.includes("--version") || args.includes("-v")) {
    const { software } = await import("./software.ts");
    process.stdout.write(`${software.name} ${software.version}\n`);
    return;
  }
  const [command, ...rest] = args[0]?.startsWith("-") === false ? args : ["start", ...args];
  if (command !== "start") {
    process.stderr.write(`There is no command ${command}; holdfast --help lists what there is.\n`);
    process.exitCode = 2;
    return;
  }
  const { start } = await import("./commands/start.ts");
  await start(rest);
}

await main(process.argv.slice(2));
