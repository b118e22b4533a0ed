/**
 * Command lines as Kafka's own tools have them: `--create` is a verb there. `holdfast topic --create --topic t`
 * becomes `holdfast topic create --topic t`, and `help topic create` becomes `topic create --help`.
 */
const verbs: { readonly [flag: string]: string } = {
  "--list": "list",
  "--create": "create",
  "--describe": "describe",
  "--alter": "alter",
  "--delete": "delete",
};

export function fromKafkaStyle(args: readonly string[]): readonly string[] {
  if (args[0] === "help") return [...args.slice(1), "--help"];
  if ((args[0] === "topic" || args[0] === "topics") && args[1]?.startsWith("-") === true) {
    const at = args.findIndex((arg) => verbs[arg] !== undefined);
    if (at !== -1) {
      return ["topic", verbs[args[at] as string] as string, ...args.slice(1, at), ...args.slice(at + 1)];
    }
  }
  return args;
}
