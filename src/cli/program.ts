/**
 * Runs one command line: finds the command, loads it, and turns whatever goes wrong into one sentence on
 * standard error and an exit code. It never ends the process and touches nothing but the terminal it is given.
 */
import { CommanderError } from "commander";
import { similarNames } from "../client/similar-names.ts";
import { type ExitCode, exitCodes } from "./exit-codes.ts";
import { fromKafkaStyle } from "./kafka-style.ts";
import { ReaderLeftError, type Terminal } from "./terminal.ts";
import { commandTree } from "./tree.ts";
import { UsageError } from "./usage-error.ts";

export async function runProgram(given: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const args = fromKafkaStyle(given);
  let code: ExitCode = exitCodes.done.code;
  const program = commandTree(async (load, positional, options) => {
    const run = await load();
    code = await run({ terminal, args: positional, options: options as never });
  });
  const help: string[] = [];
  configureWriting(program, (text) => help.push(text), terminal.stdout.columns);
  try {
    const [first] = args;
    if (
      first !== undefined &&
      !first.startsWith("-") &&
      !program.commands.some((command) => isNamed(command, first))
    ) {
      throw unknownCommand("", first, program.commands);
    }
    const [, noun] = args;
    const group = program.commands.find((command) => isNamed(command, first ?? ""));
    if (group !== undefined && group.commands.length > 0 && noun !== undefined && !noun.startsWith("-")) {
      if (!group.commands.some((command) => isNamed(command, noun))) {
        throw unknownCommand(`${group.name()} `, noun, group.commands);
      }
    }
    await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) {
      await terminal.stdout.write(`${help.join("").trimEnd()}\n`);
      return exitCodes.done.code;
    }
    if (error instanceof CommanderError && error.code === "commander.help") {
      // A noun without a verb: the verbs are what is wanted to know.
      await terminal.stderr.write(`${help.join("").trimEnd()}\n`);
      return exitCodes.usage.code;
    }
    return report(error, terminal, args);
  }
}

async function report(error: unknown, terminal: Terminal, args: readonly string[]): Promise<ExitCode> {
  if (error instanceof ReaderLeftError) return exitCodes.done.code;
  if (error instanceof CommanderError) {
    await terminal.stderr.write(`${commanderSentence(error, args)}\n`);
    return exitCodes.usage.code;
  }
  if (error instanceof UsageError) {
    await terminal.stderr.write(`${error.message}\n`);
    return exitCodes.usage.code;
  }
  const { sentenceOf } = await import("./sentences.ts");
  const { sentence, code } = sentenceOf(error);
  await terminal.stderr.write(`${sentence}\n`);
  return code;
}

type Tree = ReturnType<typeof commandTree>;

function configureWriting(command: Tree, write: (text: string) => void, columns: number | undefined): void {
  command.configureOutput({
    writeOut: write,
    writeErr: write,
    outputError: () => {},
    getOutHelpWidth: () => Math.min(columns ?? 100, 110),
    getErrHelpWidth: () => Math.min(columns ?? 100, 110),
    getOutHasColors: () => false,
    getErrHasColors: () => false,
  });
  for (const sub of command.commands) configureWriting(sub, write, columns);
}

const isNamed = (command: Tree, name: string): boolean =>
  command.name() === name || command.aliases().includes(name);

function unknownCommand(prefix: string, name: string, commands: readonly Tree[]): UsageError {
  const [near] = similarNames(
    name,
    commands.map((command) => command.name()),
  );
  const meant = near === undefined ? "" : `, but there is ${prefix}${near}`;
  return new UsageError(
    `There is no command ${prefix}${name}${meant}; holdfast ${prefix}--help lists what there is.`,
  );
}

/** Commander's words as a sentence of ours: one line, and where to read on. */
function commanderSentence(error: CommanderError, args: readonly string[]): string {
  const words = error.message
    .replace(/^error: /, "")
    .replace(/\n\((.*)\)$/, ", $1")
    .replaceAll("\n", " ");
  const nouns = args
    .slice(0, ["topic", "group", "queue", "txn", "bench", "bucket"].includes(args[0] ?? "") ? 2 : 1)
    .filter((arg) => !arg.startsWith("-"));
  const command = ["holdfast", ...nouns, "--help"].join(" ");
  return `${words[0]?.toUpperCase()}${words.slice(1).replace(/[.]$/, "")}; ${command} lists the options.`;
}
