/** `holdfast cheat [NOUN]`: what people type most, by subject. The commands are run by a test, so none is out of date. */
import { formatEncodings, formatLetters } from "../format.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { paintFor } from "../terminal.ts";
import { similarNames } from "../../client/similar-names.ts";
import type { Invocation } from "../declare.ts";
import { UsageError } from "../usage-error.ts";

export async function cheat({ terminal, args }: Invocation): Promise<ExitCode> {
  const paint = paintFor(terminal.stdout, terminal.env);
  const [noun] = args;
  if (noun === undefined) {
    const nouns = Object.entries(sheets).map(
      ([name, { about }]) => `  holdfast cheat ${name.padEnd(9)} ${paint("dim", about)}\n`,
    );
    await terminal.stdout.write(nouns.join(""));
    return exitCodes.done.code;
  }
  const sheet = sheets[noun];
  if (sheet === undefined) {
    const names = Object.keys(sheets);
    const [near] = similarNames(noun, names);
    throw new UsageError(
      `There is no cheat sheet ${noun}${near === undefined ? "" : `, but there is ${near}`}: there are ${names.join(", ")}.`,
    );
  }
  const lines = sheet.lines.map(([text, line]) => `${paint("dim", `# ${text}`)}\n${line}\n`);
  await terminal.stdout.write(lines.join("\n"));
  return exitCodes.done.code;
}

interface Sheet {
  readonly about: string;
  /** What it does, and the line. */
  readonly lines: readonly (readonly [string, string])[];
}

export const sheets: { readonly [noun: string]: Sheet } = {
  start: {
    about: "a broker on this machine",
    lines: [
      ["Kafka's port, data in ./holdfast-data", "holdfast"],
      ["another port and directory", "holdfast start --listen 127.0.0.1:19092 --data /var/lib/holdfast"],
      ["a setting under Kafka's name", "holdfast start --set num.partitions=6"],
      ["can it acknowledge?", "curl http://127.0.0.1:9093/health"],
    ],
  },
  produce: {
    about: "send records",
    lines: [
      ["one record", 'holdfast produce orders "hello"'],
      ["a key and a header", 'holdfast produce orders -k o-1 -H trace=7 "hello"'],
      ["a record for each line", "holdfast produce orders < lines.txt"],
      ["lines of key, tab, value", "holdfast produce orders -K '\\t' < pairs.tsv"],
      ["a file as one record", "holdfast produce pictures -k cat --file cat.png"],
      ["take back a key", "holdfast produce orders -k o-1 --tombstone"],
      ["where each record went, for a program", "holdfast produce orders --json < lines.txt"],
    ],
  },
  consume: {
    about: "print records",
    lines: [
      ["what comes from now on", "holdfast consume orders"],
      ["all there is, then end", "holdfast consume orders --from start --until end"],
      ["the last five, then end", "holdfast consume orders --from -5 --until end"],
      ["since ten minutes ago", "holdfast consume orders --from 10m"],
      ["one record by its offset", "holdfast consume orders --partition 0 --from 42 --count 1"],
      ["values only", "holdfast consume orders --from start --format '%v\\n'"],
      ["JSON, one record a line", "holdfast consume orders --from start --json"],
    ],
  },
  queue: {
    about: "queues, and what they could not handle",
    lines: [
      ["what waits, and since when", "holdfast queue describe mails"],
      ["the oldest messages, without taking them", "holdfast queue peek mails"],
      ["who works on it", "holdfast queue members mails"],
      ["dead letters of the last hour, with the reason", "holdfast queue dlq show dlq.mails --since 1h"],
      ["how many a redrive would be", "holdfast queue dlq redrive dlq.mails --reason limit --dry-run"],
      ["send all of them again, each once", "holdfast queue dlq redrive dlq.mails --all"],
    ],
  },
  group: {
    about: "consumer groups",
    lines: [
      ["read as a member of a group", "holdfast consume orders --group billing"],
      ["how far is it, and how far behind?", "holdfast group describe billing"],
      ["what would going back half an hour mean?", "holdfast group seek billing --to 30m --dry-run"],
      ["read everything again", "holdfast group seek billing --to start"],
      ["pass over one bad record of partition 3", "holdfast group seek billing --to +1 --topic orders:3"],
      ["another group goes on where this one stands", "holdfast group seek copy --to billing"],
    ],
  },
  txn: {
    about: "transactions",
    lines: [
      ["which ids are there, and in which state?", "holdfast txn list"],
      ["what has been open for more than a minute?", "holdfast txn list --state Ongoing --older 1m"],
      ["which partitions does it hold up?", "holdfast txn describe payments-1"],
      ["end it, and put its producer out", "holdfast txn abort payments-1"],
      ["does one hang that nobody will end?", "holdfast txn hanging"],
      ["end that in its partition", "holdfast txn abort --partition orders:3 --producer 4711"],
      ["see what is open or was aborted, too", "holdfast consume orders --uncommitted"],
    ],
  },
  topic: {
    about: "create, look at, change, delete",
    lines: [
      ["all topics", "holdfast topic list"],
      ["a new one", "holdfast topic create orders --partitions 6"],
      ["partitions, offsets, settings", "holdfast topic describe orders"],
      ["keep records for a day", "holdfast topic alter orders --set retention.ms=86400000"],
      ["more partitions", "holdfast topic alter orders --partitions 12"],
      ["bytes on disk", "holdfast topic segments orders"],
      ["delete it, with its records", "holdfast topic delete orders"],
    ],
  },
  format: {
    about: "the letters of consume --format",
    lines: [
      ["a line for each record", "holdfast consume orders --format '%t/%p @ %o %k=%v\\n'"],
      ...Object.entries(formatLetters).map(([letter, { text }]) => [text, `%${letter}`] as const),
      ["a percent sign", "%%"],
      ["newline, tab, return, zero, backslash, any byte", "\\n \\t \\r \\0 \\\\ \\xHH"],
      [
        "the bytes in another form",
        Object.keys(formatEncodings)
          .map((name) => `%v{${name}}`)
          .join(" "),
      ],
    ],
  },
  bench: {
    about: "measure a broker",
    lines: [
      ["as fast as it goes", "holdfast bench produce --records 1000000 --size 100"],
      ["latency at 1,000 records a second", "holdfast bench produce --rate 1000 --records 10000"],
      ["read it back", "holdfast bench consume"],
      ["from send to receive", "holdfast bench e2e --rate 1000"],
      ["for a table", "holdfast bench produce --csv"],
    ],
  },
};
