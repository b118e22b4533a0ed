/** `holdfast topic list`: all topics, with partitions, records and bytes. */
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatBytes, formatTable } from "../table.ts";
import { countsOf, sizesOf } from "../topic-facts.ts";

export async function topicList({
  terminal,
  args,
  options,
}: Invocation<ConnectionOptions & { readonly json?: boolean }>): Promise<ExitCode> {
  await using client = connect(options, terminal);
  const admin = client.admin();
  const all = await admin.listTopics();
  // A name that is mistyped is an error that says what was meant, not an empty list.
  const known = new Set(all.map(({ name }) => name));
  await admin.describeTopics(args.filter((name) => !known.has(name)));
  const topics = args.length === 0 ? all : all.filter(({ name }) => args.includes(name));
  const [counts, sizes] = await Promise.all([countsOf(admin, topics), sizesOf(admin)]);
  const rows = topics.map(({ name, id, partitions }) => ({
    topic: name,
    id,
    partitions,
    records: counts.get(name) ?? null,
    bytes: sizes.get(name)?.bytes ?? null,
  }));
  if (options.json === true) {
    await terminal.stdout.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  } else if (rows.length === 0) {
    await terminal.stderr.write("There are no topics yet: holdfast topic create NAME makes one.\n");
  } else {
    await terminal.stdout.write(
      formatTable(
        ["TOPIC", "PARTITIONS", "RECORDS", "SIZE"],
        rows.map(({ topic, partitions, records, bytes }) => [
          topic,
          partitions,
          records ?? "–",
          bytes === null ? "–" : formatBytes(bytes),
        ]),
      ),
    );
  }
  return exitCodes.done.code;
}
