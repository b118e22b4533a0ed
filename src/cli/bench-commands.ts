/** The commands of `holdfast bench`. */
import type { Command, Option } from "commander";
import {
  type Act,
  codecs,
  connection,
  declare,
  hidden,
  json,
  option,
  signedNumber,
  wholeNumber,
} from "./declare.ts";

export function addBenchCommands(root: Command, act: Act): void {
  const bench = root.command("bench").description("measure a broker with this machine's client");
  const load: readonly Option[] = [
    ...connection,
    option("--topic <topic>", "made when it does not exist, and kept", undefined, "holdfast-bench"),
    option("--records <n>", "how many", wholeNumber("--records", 1)),
    option("--csv", "one line of comma-separated values, with a head"),
    json("one JSON object"),
    hidden("--messages <n>", wholeNumber("--messages", 1)),
    hidden("--num-records <n>", wholeNumber("--num-records", 1)),
  ];
  const sending: readonly Option[] = [
    option("--size <bytes>", "bytes of a value", wholeNumber("--size"), 100),
    option("--partitions <n>", "when the topic must be made", wholeNumber("--partitions", 1)),
    option("--rate <n>", "records a second; without it as many as there can be", wholeNumber("--rate", 1)),
    option("-z, --compression <codec>", "how batches are compressed").choices(codecs),
    hidden("--record-size <bytes>", wholeNumber("--record-size")),
    hidden("--throughput <n>", signedNumber("--throughput")),
  ];
  declare(
    bench,
    {
      name: "produce",
      text: "records a second until acknowledged, and how long an acknowledgement takes",
      options: [...load, ...sending],
      load: async () => (await import("./commands/bench-produce.ts")).benchProduce,
      examples: [
        { line: "holdfast bench produce", text: "100,000 records of 100 bytes" },
        { line: "holdfast bench produce --records 1000000 --size 1024 --csv", text: "" },
        {
          line: "holdfast bench produce --rate 1000 --records 10000",
          text: "latency at 1,000 records a second",
        },
      ],
    },
    act,
  );
  declare(
    bench,
    {
      name: "consume",
      text: "records a second from the start of a topic to its end",
      options: load,
      load: async () => (await import("./commands/bench-consume.ts")).benchConsume,
      examples: [{ line: "holdfast bench consume", text: "what `bench produce` wrote" }],
    },
    act,
  );
  declare(
    bench,
    {
      name: "e2e",
      text: "how long from sending a record until a consumer has it",
      options: [...load, ...sending],
      load: async () => (await import("./commands/bench-e2e.ts")).benchE2e,
      examples: [{ line: "holdfast bench e2e --rate 1000", text: "10,000 records, 1,000 a second" }],
    },
    act,
  );
}
