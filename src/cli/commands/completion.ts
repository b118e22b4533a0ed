/**
 * `holdfast completion SHELL`: a script that completes commands, options and their choices. It is made from the
 * tree of commands, stands by itself, and starts no process while somebody types.
 */
import type { Command, Option } from "commander";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { commandPath, type Invocation } from "../declare.ts";
import { commandTree } from "../tree.ts";

export async function completion({ terminal, args }: Invocation): Promise<ExitCode> {
  await terminal.stdout.write(completionScript(args[0] as Shell));
  return exitCodes.done.code;
}

export type Shell = "bash" | "zsh" | "fish";

export function completionScript(shell: Shell): string {
  const commands = everyCommand(commandTree(() => Promise.resolve()));
  return { bash, zsh, fish }[shell](commands);
}

interface Place {
  /** "topic create"; "" is the program itself. */
  readonly path: string;
  readonly words: readonly { readonly word: string; readonly text: string }[];
  readonly options: readonly Option[];
  /** What the first argument may be. */
  readonly choices: readonly string[];
}

function everyCommand(command: Command): readonly Place[] {
  const place: Place = {
    path: commandPath(command),
    words: command.commands.map((sub) => ({ word: sub.name(), text: sub.description() })),
    options: command.options.filter(({ hidden }) => !hidden),
    choices: command.registeredArguments[0]?.argChoices ?? [],
  };
  return [place, ...command.commands.flatMap(everyCommand)];
}

const spellings = ({ short, long }: Option): readonly string[] =>
  [short, long].filter((flag) => flag !== undefined);
const takesFile = ({ flags }: Option): boolean => /<(?:path|file|dir)>/.test(flags);

/** Which words lead from one command to the next, as cases of a shell's `case`. */
const steps = (places: readonly Place[], indent: string): string =>
  places
    .flatMap(({ path, words }) =>
      words.map(({ word }) => ({ from: path, word, to: path === "" ? word : `${path} ${word}` })),
    )
    .map(({ from, word, to }) => `${indent}"${from}:${word}") at="${to}" ;;`)
    .join("\n");

function bash(places: readonly Place[]): string {
  const values = places.flatMap(({ path, options }) =>
    options.flatMap((option) => {
      if (!option.required) return [];
      const patterns = spellings(option).map((flag) => `"${path}:${flag}"`);
      const reply = takesFile(option)
        ? `COMPREPLY=($(compgen -f -- "$current"))`
        : `COMPREPLY=($(compgen -W "${option.argChoices?.join(" ") ?? ""}" -- "$current"))`;
      return [`    ${patterns.join("|")}) ${reply}; return ;;`];
    }),
  );
  const words = places.map(({ path, words: subs, options, choices }) => {
    const all = [...subs.map(({ word }) => word), ...choices, ...options.flatMap(spellings), "--help"];
    return `    "${path}") words="${all.join(" ")}" ;;`;
  });
  return `# bash completion of holdfast; source <(holdfast completion bash)
_holdfast() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" at="" words="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at:$word" in
${steps(places, "      ")}
    esac
  done
  case "$at:$previous" in
${values.join("\n")}
  esac
  case "$at" in
${words.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _holdfast holdfast
`;
}

/** Within single quotes of any of the three shells. */
const quoted = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "'\\''")}'`;

function zsh(places: readonly Place[]): string {
  const described = (word: string, text: string): string =>
    quoted(`${word.replaceAll(":", "\\:")}:${text}`).replaceAll("\\\\:", "\\:");
  const cases = places.map(({ path, words, options, choices }) => {
    const subs = [
      ...words.map(({ word, text }) => described(word, text)),
      ...choices.map((word) => described(word, "")),
    ];
    const flags = options.flatMap((option) =>
      spellings(option).map((flag) => described(flag, option.description)),
    );
    return `    "${path}") subs=(${subs.join(" ")}); flags=(${[...flags, described("--help", "this text")].join(" ")}) ;;`;
  });
  const values = places.flatMap(({ path, options }) =>
    options.flatMap((option) => {
      if (!option.required) return [];
      const patterns = spellings(option).map((flag) => `"${path}:${flag}"`);
      const reply = takesFile(option) ? "_files" : `compadd -- ${option.argChoices?.join(" ") ?? ""}`;
      return [`    ${patterns.join("|")}) ${reply}; return ;;`];
    }),
  );
  return `#compdef holdfast
# zsh completion of holdfast; source <(holdfast completion zsh)
_holdfast() {
  local at="" word
  local -a subs flags
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at:$word" in
${steps(places, "      ")}
    esac
  done
  case "$at:\${words[CURRENT-1]}" in
${values.join("\n")}
  esac
  case "$at" in
${cases.join("\n")}
  esac
  (( $#subs )) && _describe 'command' subs
  _describe -o 'option' flags
}
compdef _holdfast holdfast
`;
}

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words, options, choices }) => {
    const at = `-n '__holdfast_at "${path}"'`;
    return [
      ...words.map(({ word, text }) => `complete -c holdfast ${at} -f -a ${word} -d ${quoted(text)}`),
      ...choices.map((word) => `complete -c holdfast ${at} -f -a ${word}`),
      ...options.map((option) => {
        const short = option.short === undefined ? "" : ` -s ${option.short.slice(1)}`;
        const long = option.long === undefined ? "" : ` -l ${option.long.slice(2)}`;
        const value = !option.required
          ? ""
          : takesFile(option)
            ? " -r -F"
            : ` -x -a ${quoted(option.argChoices?.join(" ") ?? "")}`;
        return `complete -c holdfast ${at}${short}${long}${value} -d ${quoted(option.description)}`;
      }),
    ];
  });
  return `# fish completion of holdfast; holdfast completion fish | source
function __holdfast_at
  set -l at ""
  for word in (commandline -opc)[2..-1]
    switch "$at:$word"
${steps(places, "      ").replace(/^(\s*)("[^"]*")\) at=("[^"]*") ;;$/gm, "$1case $2\n$1  set at $3")}
    end
  end
  test "$at" = "$argv[1]"
end
${lines.join("\n")}
`;
}
