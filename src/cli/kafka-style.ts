/**
 * Command lines as Kafka's own tools have them: `--create` is a verb there. `holdfast topic --create --topic t`
 * becomes `holdfast topic create --topic t`, and `help topic create` becomes `topic create --help`. Kafka moves
 * a group only with `--execute`, so `--reset-offsets` without it stays a question here, too.
 */
const verbs: { readonly [noun: string]: { readonly [flag: string]: string } } = {
  topic: {
    "--list": "list",
    "--create": "create",
    "--describe": "describe",
    "--alter": "alter",
    "--delete": "delete",
  },
  group: {
    "--list": "list",
    "--describe": "describe",
    "--reset-offsets": "seek",
    "--delete-offsets": "delete",
    "--delete": "delete",
  },
};

export function fromKafkaStyle(args: readonly string[]): readonly string[] {
  if (args[0] === "help") return [...args.slice(1), "--help"];
  const noun = args[0]?.replace(/s$/, "") ?? "";
  const known = Object.hasOwn(verbs, noun) ? verbs[noun] : undefined;
  if (known === undefined || args[1]?.startsWith("-") !== true) return args;
  const at = args.findIndex((arg) => Object.hasOwn(known, arg));
  const flag = args[at];
  if (flag === undefined) return args;
  const rest = [...args.slice(1, at), ...args.slice(at + 1)];
  const isQuestion = flag === "--reset-offsets" && !args.includes("--execute") && !args.includes("--dry-run");
  return [noun, known[flag] as string, ...rest, ...(isQuestion ? ["--dry-run"] : [])];
}
