/**
 * `docs/compatibility.md`: which APIs are served in which versions, read from the handlers themselves, and
 * what other people's clients did against this broker, read from the results of `test/interop` and
 * `test/conformance` that are committed beside the page. Nothing in it is written by hand but the sentences
 * around the tables.
 */
import { readFileSync } from "node:fs";
import { isTold } from "../src/broker/api/api-versions.ts";
import { clientHandlers } from "../src/broker/handlers.ts";
import { clusterSection } from "./compatibility-clusters.ts";
import {
  clusterResultsPath,
  type InteropResult,
  type InteropResults,
  resultsPath,
} from "./interop-results.ts";

export type { InteropResult, InteropResults } from "./interop-results.ts";

export function compatibilityPage(): string {
  const results = JSON.parse(readFileSync(resultsPath, "utf8")) as InteropResults;
  const ofClusters = JSON.parse(readFileSync(clusterResultsPath, "utf8")) as InteropResults;
  return `# Compatibility

Made by \`npm run pages\` from [the handlers](../src/broker/handlers.ts) and from [the results](compatibility-results.json) of [test/interop](../test/interop/interop.test.ts); do not edit.

## APIs

Of each API that is served, every version that Apache Kafka 4.4 still supports; [a test](../test/spec/spec.test.ts) compares each message, field by field, with the definitions in Kafka's own jar. What is not in the table is not advertised in ApiVersions, and a request for it closes the connection: no share groups, no users and no quotas, and access rights (ACLs) are answered as a broker without an authorizer does. Where behaviour differs is in [differences-from-kafka.md](differences-from-kafka.md).

${apiTable()}

## Clients

${[clientTables(results), ...clusterSection(ofClusters)].join("\n\n")}
`;
}

function apiTable(): string {
  const rows = clientHandlers
    .map(({ api }) => api)
    .toSorted((a, b) => a.key - b.key)
    .map((api) => {
      const { key, name, flexibleFrom } = api;
      const [first, last] = api.versions;
      const flexible = flexibleFrom > last ? "–" : `${Math.max(first, flexibleFrom)}`;
      return `| ${key} | ${name}${isTold(api) ? "" : " (not advertised)"} | ${first === last ? first : `${first} to ${last}`} | ${flexible} |`;
    });
  return ["| key | API | versions | tagged fields from |", "|---|---|---|---|", ...rows].join("\n");
}

const elsewhere: readonly InteropResult["kind"][] = [
  "groups",
  "shares",
  "transactions",
  "suite",
  "same",
  "framework",
];

function clientTables({ scale, results: all }: InteropResults): string {
  const results = all.filter(({ kind }) => !elsewhere.includes(kind));
  const failures = results.filter(({ passed }) => !passed);
  const verdict =
    failures.length === 0
      ? `All ${results.length} cases passed.`
      : `${failures.length} of ${results.length} cases did not pass:\n\n${failures.map(failureLine).join("\n")}`;
  const exchanges = results.filter(({ kind }) => kind !== "admin");
  const ours = exchanges.filter(({ target }) => target === "holdfast");
  const kafkas = exchanges.filter(({ target }) => target !== "holdfast");
  const remarks = unique(exchanges.flatMap(({ client, remark }) => (remark ? [`${client}: ${remark}`] : [])));
  return [
    `Scale "${scale}", the newest run of each case: ${runsOf(results)}. ${verdict}`,
    'Every client writes records of 0 B to 2 KB and some of 100 to 900 KB with keys, headers and null values as far as it goes, in all five compressions, with idempotence and `acks=all`. "Reads" means: each record of that writer byte for byte, in order, at dense offsets. "kill -9" means that the broker got it half-way, while this client wrote or read, and was started again. "First steps" are those of a newcomer, with default settings and its own admin client: create a topic with a setting, list and describe it, write three records, ask for the end offsets, delete it.',
    exchangeTable(ours),
    ...remarks.map((remark) => `- ${remark}`),
    ...(kafkas.length === 0 ? [] : ["### Against Apache Kafka 4.3.0", exchangeTable(kafkas)]),
    ...groupsSection(all.filter(({ kind, target }) => kind === "groups" && target === "holdfast")),
    ...sharesSection(all.filter(({ kind, target }) => kind === "shares" && target === "holdfast")),
    ...frameworkSection(all.filter(({ kind, target }) => kind === "framework" && target === "holdfast")),
    ...transactionsSection(
      all.filter(({ kind, target }) => kind === "transactions" && target === "holdfast"),
    ),
    "### Kafka's own tools",
    adminTable(results.filter(({ kind }) => kind === "admin")),
    ...sameSection(all.filter(({ kind, target }) => kind === "same" && target === "holdfast")),
    ...suiteSection(all.filter(({ kind, target }) => kind === "suite" && target === "holdfast")),
  ].join("\n\n");
}

function exchangeTable(results: readonly InteropResult[]): string {
  const rows = unique(results.map(nameOf)).map((name) => {
    const mine = results.filter((result) => nameOf(result) === name);
    const [{ client, version, language } = { client: "", version: "", language: "" }] = mine;
    const written = mine.filter(({ kind }) => kind === "write");
    const read = mine.filter(({ kind }) => kind === "read");
    const killed = mine
      .filter((result) => result.killed)
      .map(({ kind }) => (kind === "write" ? "writing" : "reading"));
    const cells = [
      client,
      version,
      language,
      written.map(amountOf).join(", ") || "–",
      unique(read.map(({ what }) => (what === name ? "its own" : what))).join(", ") || "–",
      written.length > 0 ? "on" : "–",
      unique(written.flatMap(({ codecs }) => codecs ?? [])).join(" ") || "–",
      unique(killed).join(", ") || "–",
      mine.some(({ kind }) => kind === "tour") ? "yes" : "–",
      mine.every(({ passed }) => passed) ? "passed" : "**failed**",
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [
    "| client | version | language | writes | reads what wrote | idempotence | compressions | kill -9 | first steps | result |",
    "|---|---|---|---|---|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}

function groupsSection(results: readonly InteropResult[]): string[] {
  if (results.length === 0) return [];
  const protocols = ["classic, eager", "classic, cooperative", "KIP-848"];
  const names = unique(results.map(nameOf)).toSorted((a, b) => a.localeCompare(b));
  const rows = names.map((name) => {
    const mine = results.filter((result) => nameOf(result) === name);
    const [{ client, version } = { client: "", version: "" }] = mine;
    const cells = protocols.map((protocol) => {
      const result = mine.find(({ what }) => what === protocol);
      if (result === undefined) return "not run";
      if (result.skipped !== undefined) return "–";
      return result.passed ? `passed, ${countOf(result)} records` : "**failed**";
    });
    return `| ${[client, version, ...cells].join(" | ")} |`;
  });
  const inOrder = names.flatMap((name) => results.filter((result) => nameOf(result) === name));
  const notes = inOrder.flatMap((result) => {
    const note = result.failure ?? result.skipped ?? result.remark;
    return note === undefined ? [] : [`- ${nameOf(result)}, ${result.what}: ${firstLine(note)}`];
  });
  return [
    "### Consumer groups",
    `Groups of 1 to 8 members read 16 partitions while records arrive; members join, leave, are killed (\`kill -9\`) and stopped for longer than their session, and so is the broker killed and started again, at moments that a seed decides. "Passed" means: every record was processed at least once and none passed over, no offset was committed ahead of what was processed, and no partition had two owners in one generation, as far as the client tells its generation (${runsOf(results)}).`,
    [
      `| client | version | ${protocols.join(" | ")} |`,
      `|---|---|${protocols.map(() => "---|").join("")}`,
      ...rows,
    ].join("\n"),
    ...(notes.length === 0 ? [] : [notes.join("\n")]),
  ];
}

function sharesSection(results: readonly InteropResult[]): string[] {
  if (results.length === 0) return [];
  const inOrder = results.toSorted(
    (a, b) => nameOf(a).localeCompare(nameOf(b)) || (a.what < b.what ? -1 : 1),
  );
  const rows = inOrder.map((result) => {
    const { client, version, what, passed } = result;
    return `| ${[client, version, what, countOf(result), passed ? "passed" : "**failed**"].join(" | ")} |`;
  });
  const notes = inOrder.flatMap((result) =>
    result.failure === undefined ? [] : [`- ${nameOf(result)}, ${result.what}: ${firstLine(result.failure)}`],
  );
  return [
    "### Share groups",
    `Members of share groups take records while the broker is killed (\`kill -9\`) and started again; those of kafka-clients also join, leave, are killed and stopped for longer than a lock lasts, at moments that a seed decides. "Passed" means: every record was accepted, none was given out after its acceptance was answered, and none more often than the group allows (${runsOf(results)}).`,
    ["| client | version | how | records | result |", "|---|---|---|---|---|", ...rows].join("\n"),
    ...(notes.length === 0 ? [] : [notes.join("\n")]),
  ];
}

function transactionsSection(results: readonly InteropResult[]): string[] {
  if (results.length === 0) return [];
  const inOrder = results.toSorted(
    (a, b) => nameOf(a).localeCompare(nameOf(b)) || (a.what < b.what ? -1 : 1),
  );
  const rows = inOrder.map((result) => {
    const { client, version, what, passed } = result;
    return `| ${[client, version, what, countOf(result), passed ? "passed" : "**failed**"].join(" | ")} |`;
  });
  const notes = inOrder.flatMap((result) => {
    const note = result.failure ?? result.remark;
    return note === undefined ? [] : [`- ${nameOf(result)}, ${result.what}: ${firstLine(note)}`];
  });
  return [
    "### Transactions",
    `Groups of up to 4 instances copy a topic of 8 partitions to another one (consume, transform, produce), each lot with its offsets in one transaction; every fifth is aborted on purpose. Instances are killed (\`kill -9\`) and stopped for longer than their session and their transaction may last, and so is the broker killed and started again, at moments that a seed decides. "Passed" means: two other clients, one of which reads meanwhile, see with read_committed every record once and in order, the group has committed the end of the input, and no commit that an instance was told of went back; the aborted records were there for read_uncommitted (${runsOf(results)}).`,
    ["| client | version | how | records | result |", "|---|---|---|---|---|", ...rows].join("\n"),
    ...(notes.length === 0 ? [] : [notes.join("\n")]),
  ];
}

function frameworkSection(results: readonly InteropResult[]): string[] {
  if (results.length === 0) return [];
  const rows = results.map(({ client, version, what, passed, recordCount = 0 }) => {
    const outcome = passed ? "passed" : "**failed**";
    return `| ${client} | ${version} | ${what} | ${recordCount.toLocaleString("en-US")} | ${outcome} |`;
  });
  const notes = results.flatMap((result) =>
    result.failure === undefined ? [] : [`- ${nameOf(result)}, ${result.what}: ${firstLine(result.failure)}`],
  );
  return [
    "### Kafka's frameworks",
    `What is built upon Apache Kafka runs here unchanged, from its published jars, while it and the broker are killed (\`kill -9\`); [test/conformance](../test/conformance/README.md) says how (${runsOf(results)}).`,
    ["| framework | version | what it did | records | result |", "|---|---|---|---|---|", ...rows].join("\n"),
    ...(notes.length === 0 ? [] : [notes.join("\n")]),
  ];
}

function adminTable(results: readonly InteropResult[]): string {
  const rows = results.map(
    ({ client, version, what, passed }) =>
      `| ${client} | ${version} | ${what} | ${passed ? "passed" : "**failed**"} |`,
  );
  return ["| tool | version | what it did | result |", "|---|---|---|---|", ...rows].join("\n");
}

function sameSection(results: readonly InteropResult[]): string[] {
  if (results.length === 0) return [];
  return [
    "### Kafka's tools here and before Apache Kafka 4.3.0",
    `The same story is played against both, and everything that the tools print is compared, apart from ids, times and the order of rows (${runsOf(results)}).`,
    adminTable(results),
  ];
}

/** Of a client's own tests, case by case; a case that has parts is told by its parts. */
function suiteSection(results: readonly InteropResult[]): string[] {
  const [first] = results;
  if (first === undefined) return [];
  const rows = results.map(({ what, passed, skipped, failure = "" }) => {
    const outcome = skipped === undefined ? (passed ? "passes" : "**fails**") : "skipped";
    return `| ${what} | ${outcome} | ${skipped ?? (passed ? "" : firstLine(failure))} |`;
  });
  const skipping = results.filter(({ skipped }) => skipped !== undefined).length;
  const failing = results.filter(({ passed }) => !passed).length;
  const passing = results.length - skipping - failing;
  return [
    `### The integration tests of ${first.client} ${first.version}`,
    `Every test of its published module that needs a broker, run against this one: ${passing} cases pass, ${skipping} skip themselves, ${failing} fail (${runsOf(results)}). "Dying connections" is its mode in which every connection breaks within two seconds.`,
    ["| case | result | why |", "|---|---|---|", ...rows].join("\n"),
  ];
}

function runsOf(results: readonly InteropResult[]): string {
  const runs = results.map(({ at, commit }) => `${at.slice(0, 10)} at commit \`${commit.slice(0, 12)}\``);
  return unique(runs).join(", ");
}

const nameOf = ({ client, version }: InteropResult): string => `${client} ${version}`;

const countOf = ({ recordCount = 0 }: InteropResult): string => recordCount.toLocaleString("en-US");

const amountOf = (result: InteropResult): string =>
  `${countOf(result)} records, ${Math.round((result.valueBytes ?? 0) / 1e6).toLocaleString("en-US")} MB`;

const failureLine = (result: InteropResult): string =>
  `- ${nameOf(result)}, ${result.kind} (${result.what}): ${firstLine(result.failure ?? "")}`;

const unique = <Item>(items: readonly Item[]): Item[] => [...new Set(items)];

const firstLine = (text: string): string => (text.split("\n")[0] ?? "").replaceAll("|", "\\|");
