/**
 * How a command is declared: its arguments, options and examples as values of commander, and the look of its
 * help. Hidden options are the names that Kafka's tools, kcat and rpk have for the same thing, so that fingers
 * keep working.
 */
import { Command, Option } from "commander";
import type { ExitCode } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError } from "./usage-error.ts";

/** What a command is run with. `options` has what the tree declares for it, under commander's camel-case names. */
export interface Invocation<Options = object> {
  readonly terminal: Terminal;
  readonly args: readonly string[];
  readonly options: Options;
}

export type Run = (invocation: Invocation<never>) => Promise<ExitCode>;
export type Load = () => Promise<Run>;
/** Told which command was asked for, with its arguments. */
export type Act = (load: Load, args: readonly string[], options: object) => Promise<void>;

export interface Example {
  readonly line: string;
  readonly text: string;
}

export const defaultBootstrap = "localhost:9092";

const examples = new WeakMap<Command, readonly Example[]>();
export const examplesOf = (command: Command): readonly Example[] => examples.get(command) ?? [];

export interface Declared {
  readonly name: string;
  readonly args?: string;
  /** What the one argument may be. */
  readonly choices?: readonly string[];
  readonly text: string;
  readonly options?: readonly Option[];
  readonly load?: Load;
  readonly examples: readonly Example[];
}

export function declare(parent: Command, declared: Declared, act: Act): Command {
  const command = parent.command(declared.name).description(declared.text);
  // With the hidden `--topic` or `--group` the name need not be an argument; what is missing is said by the command.
  const byOption = declared.options?.some(namesFirst) === true;
  if (declared.args !== undefined) {
    command.usage(`${declared.args} [options]`);
    command.arguments(byOption ? declared.args.replaceAll("<", "[").replaceAll(">", "]") : declared.args);
  }
  const first = command.registeredArguments[0];
  if (declared.choices !== undefined && first !== undefined) first.choices(declared.choices);
  for (const option of declared.options ?? []) command.addOption(option);
  examples.set(command, declared.examples);
  const { load } = declared;
  if (load !== undefined) {
    command.action(() => act(load, withName(command), command.opts()));
  }
  return command;
}

const namesFirst = ({ long, hidden }: Option): boolean =>
  hidden && (long === "--topic" || long === "--group");

/** `--topic NAME` or `--group NAME`, as Kafka's tools have it, is the first argument. */
function withName(command: Command): readonly string[] {
  const naming = command.options.find(namesFirst);
  if (naming === undefined) return command.args;
  const noun = naming.attributeName();
  const named = command.opts<{ readonly [name: string]: string | undefined }>()[noun];
  const args = named === undefined ? command.args : [named, ...command.args];
  const [first] = command.registeredArguments;
  if (args.length === 0 && /^<|^\S*>/.test(command.usage())) {
    const word = noun.toUpperCase();
    throw new UsageError(
      `The name of a ${noun} is missing: holdfast ${commandPath(command)} ${first?.variadic === true ? `${word}…` : word}.`,
    );
  }
  return args;
}

/** `topic create`, without the program's name. */
export function commandPath(command: Command): string {
  const names: string[] = [];
  for (let at = command; at.parent !== null; at = at.parent) names.unshift(at.name());
  return names.join(" ");
}

export function configured(command: Command): Command {
  command
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .configureHelp({
      optionTerm: ({ flags }) => upperPlaceholders(flags),
      subcommandTerm: (sub) => sub.name(),
      commandUsage: (of) => `holdfast ${commandPath(of)} ${upperPlaceholders(of.usage())}`.replace("  ", " "),
      visibleArguments: () => [],
    })
    .helpOption("-h, --help", "this text")
    .helpCommand(false);
  const lines = examplesOf(command);
  if (lines.length > 0) command.addHelpText("after", () => `\nExamples:\n${exampleLines(lines)}`);
  for (const sub of command.commands) configured(sub);
  return command;
}

/** The options of a command as its help has them. */
export function optionLines(command: Command): string {
  return /\nOptions:\n((?: .*\n?)*)/.exec(command.helpInformation())?.[1]?.trimEnd() ?? "";
}

function exampleLines(lines: readonly Example[]): string {
  const width = Math.max(...lines.map(({ line }) => line.length));
  const fits = width <= 66;
  return lines
    .map(({ line, text }) => {
      if (text === "") return `  ${line}`;
      return fits ? `  ${line.padEnd(width)}  ${text}` : `  # ${text}\n  ${line}`;
    })
    .join("\n");
}

/** `--listen <host:port>` → `--listen HOST:PORT`. */
const upperPlaceholders = (text: string): string =>
  text
    .replace(/<([^>]+)>/g, (_all, name: string) => name.toUpperCase().replace("...", "…"))
    .replace(
      /\[(?!options|command)([^\]]+)\]/g,
      (_all, name: string) => `[${name.toUpperCase().replace("...", "…")}]`,
    );

export function option(
  flags: string,
  text: string,
  parse?: (text: string, previous: never) => unknown,
  initial?: unknown,
): Option {
  const made = new Option(flags, text);
  if (parse !== undefined) made.argParser(parse as (text: string, previous: unknown) => unknown);
  return initial === undefined ? made : made.default(initial);
}

export function hidden(flags: string, parse?: (text: string) => unknown): Option {
  return option(flags, "", parse).hideHelp();
}

export function many(flags: string, text: string): Option {
  return option(flags, text, (value: string, before?: readonly string[]) => [...(before ?? []), value]);
}

export const hiddenMany = (...flags: readonly string[]): readonly Option[] =>
  flags.map((each) => many(each, "").hideHelp());

export const json = (text: string): Option => option("-j, --json", text);

export function wholeNumber(name: string, min = 0): (text: string) => number {
  return (text) => {
    const number = Number(text.replaceAll("_", ""));
    if (/^[\d_]+$/.test(text) && Number.isSafeInteger(number) && number >= min) return number;
    throw new UsageError(
      `${name} needs a whole number${min > 0 ? ` of at least ${min}` : ""}, not "${text}".`,
    );
  };
}

/** Kafka's `--throughput -1` means: no limit. */
export function signedNumber(name: string): (text: string) => number {
  return (text) => (text === "-1" ? -1 : wholeNumber(name, 1)(text));
}

/** How batches may be compressed. */
export const codecs = ["none", "gzip", "snappy", "lz4", "zstd"] as const;

/** What every command that talks to a broker takes. */
export const connection: readonly Option[] = [
  option(
    "-b, --bootstrap <host:port>",
    `the broker, or several with commas (HOLDFAST_BOOTSTRAP, else ${defaultBootstrap})`,
  ),
  hidden("--bootstrap-server <host:port>"),
  hidden("--brokers <host:port>"),
  hidden("--broker-list <host:port>"),
];

/** The whole help of a command, as wide as is said. */
export function helpText(command: Command, width: number): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
    getOutHelpWidth: () => width,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return `${text.trimEnd()}\n`;
}
