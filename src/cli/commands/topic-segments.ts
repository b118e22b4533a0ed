/** `holdfast topic segments`: what each partition takes on disk, as the brokers tell it. */
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatBytes, formatTable } from "../table.ts";
import { paintFor } from "../terminal.ts";
import { sizesOf } from "../topic-facts.ts";

export async function topicSegments({
  terminal,
  args,
  options,
}: Invocation<ConnectionOptions & { readonly json?: boolean }>): Promise<ExitCode> {
  await using client = connect(options, terminal);
  const admin = client.admin();
  const wanted = new Set(args);
  // Finds a mistyped name.
  if (wanted.size > 0) await admin.describeTopics([...wanted]);
  const sizes = await sizesOf(admin);
  const rows = [...sizes]
    .filter(([topic]) => wanted.size === 0 || wanted.has(topic))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([topic, { partitions }]) =>
      partitions.toSorted((a, b) => a.partition - b.partition).map((each) => ({ topic, ...each })),
    );
  if (options.json === true) {
    await terminal.stdout.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    return exitCodes.done.code;
  }
  const table = formatTable(
    ["PARTITION", "BROKER", "SIZE", "BYTES", "DIRECTORY"],
    rows.map(({ topic, partition, broker, bytes, path }) => [
      `${topic}/${partition}`,
      broker,
      formatBytes(bytes),
      bytes,
      path,
    ]),
  );
  const note =
    "The protocol tells bytes, not segments: beside a broker of Holdfast, holdfast inspect DIRECTORY shows each of them.";
  await terminal.stdout.write(`${table}\n${paintFor(terminal.stdout, terminal.env)("dim", note)}\n`);
  return exitCodes.done.code;
}
