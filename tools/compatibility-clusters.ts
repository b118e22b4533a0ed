/**
 * The section of `docs/compatibility.md` about three brokers: what the same clients did against a cluster, over a
 * shared directory and over MinIO, one row for each client and store.
 */
import type { InteropResult, InteropResults } from "./interop-results.ts";

const stores = [
  { target: "cluster", store: "`file:`" },
  { target: "cluster-minio", store: "MinIO" },
] as const;

const columns: readonly {
  readonly title: string;
  readonly kinds: readonly InteropResult["kind"][];
}[] = [
  { title: "first steps", kinds: ["tour", "admin"] },
  { title: "writes and reads", kinds: ["write", "read"] },
  { title: "groups", kinds: ["groups"] },
  { title: "transactions", kinds: ["transactions"] },
  { title: "its own tests", kinds: ["suite"] },
];

const kafkasTools = "Kafka's tools";

export function clusterSection({ scale, results }: InteropResults): string[] {
  const ran = results.filter(({ skipped }) => skipped === undefined);
  if (ran.length === 0) return [];
  const names = unique(ran.map(nameOf)).toSorted((a, b) => a.localeCompare(b));
  const rows = names.flatMap((name) =>
    stores.flatMap(({ target, store }) => {
      const mine = ran.filter((result) => nameOf(result) === name && result.target === target);
      if (mine.length === 0) return [];
      const cells = columns.map(({ kinds }) => verdict(mine.filter(({ kind }) => kinds.includes(kind))));
      return [`| ${[name, store, ...cells].join(" | ")} |`];
    }),
  );
  const failures = ran.filter(({ passed }) => !passed);
  const notes = failures.map(
    (result) =>
      `- ${nameOf(result)}, ${result.target}, ${result.kind} (${result.what}): ${firstLine(result.failure ?? "")}`,
  );
  return [
    "### Three brokers",
    `The same against three brokers over one store, which is a directory that they share or MinIO: wherever the broker is killed above, one of the three is (\`kill -9\`), each in its turn, and comes back. Scale "${scale}": less data and shorter stories than above. Each cell counts cases ([results](compatibility-results-cluster.json), ${runsOf(ran)}). Of franz-go's own tests \`Test848RegexBrokerResolves\` is left out: it ends as soon as two topics gave records and does not expect the internal one among them, so it needs one fetch to bring all, as from one broker; three that only wait are left out of samples.`,
    [
      `| client | store | ${columns.map(({ title }) => title).join(" | ")} |`,
      `|---|---|${columns.map(() => "---|").join("")}`,
      ...rows,
    ].join("\n"),
    ...(notes.length === 0 ? [] : [notes.join("\n")]),
  ];
}

function verdict(results: readonly InteropResult[]): string {
  if (results.length === 0) return "–";
  const passed = results.filter((result) => result.passed).length;
  return passed === results.length
    ? `${passed} passed`
    : `**${results.length - passed} failed**, ${passed} passed`;
}

/** Kafka's tools are told as one. */
const nameOf = ({ client, version, kind }: InteropResult): string =>
  `${kind === "admin" ? kafkasTools : client} ${version}`;

function runsOf(results: readonly InteropResult[]): string {
  return unique(
    results.map(({ at, commit }) => `${at.slice(0, 10)} at commit \`${commit.slice(0, 12)}\``),
  ).join(", ");
}

const unique = <Item>(items: readonly Item[]): Item[] => [...new Set(items)];

const firstLine = (text: string): string => (text.split("\n")[0] ?? "").replaceAll("|", "\\|");
