/**
 * `docs/compatibility.md`: which APIs are served in which versions, read from the handlers themselves, and
 * what other people's clients did against this broker, read from the results of `test/interop` that are
 * committed beside the page. Nothing in it is written by hand but the sentences around the tables.
 */
import { readFileSync } from "node:fs";
import { handlers } from "../src/broker/handlers.ts";

/** One run of `test/interop`, as `docs/compatibility-results.json` keeps it. */
export interface InteropResults {
  readonly target: string;
  /** sample or full. */
  readonly scale: string;
  /** When it ended. */
  readonly at: string;
  readonly commit: string;
  readonly results: readonly InteropResult[];
}

interface InteropResult {
  readonly client: string;
  readonly version: string;
  readonly action: string;
  readonly passed: boolean;
  readonly detail: string;
}

export const resultsPath = "docs/compatibility-results.json";

export function compatibilityPage(): string {
  const results = JSON.parse(readFileSync(resultsPath, "utf8")) as InteropResults;
  return `# Compatibility

Made by \`npm run pages\` from [the handlers](../src/broker/handlers.ts) and from [the results](compatibility-results.json) of [test/interop](../test/interop/interop.test.ts); do not edit.

## APIs

Of each API that is served, every version that Apache Kafka 4.4 still supports; [a test](../test/spec/spec.test.ts) compares each message, field by field, with the definitions in Kafka's own jar. What is not in the table is not advertised in ApiVersions, and a request for it closes the connection: no consumer groups, no transactions, no share groups, no users, ACLs or quotas, no DeleteRecords yet. Where behaviour differs is in [differences-from-kafka.md](differences-from-kafka.md).

${apiTable()}

## Clients

${clientTables(results)}
`;
}

function apiTable(): string {
  const rows = handlers
    .map(({ api }) => api)
    .toSorted((a, b) => a.key - b.key)
    .map(({ key, name, versions: [first, last], flexibleFrom }) => {
      const flexible = flexibleFrom > last ? "–" : `${Math.max(first, flexibleFrom)}`;
      return `| ${key} | ${name} | ${first === last ? first : `${first} to ${last}`} | ${flexible} |`;
    });
  return ["| key | API | versions | tagged fields from |", "|---|---|---|---|", ...rows].join("\n");
}

function clientTables({ scale, at, commit, results }: InteropResults): string {
  const failed = results.filter(({ passed }) => !passed).length;
  const verdict =
    failed === 0 ? `All ${results.length} passed` : `${failed} of ${results.length} did not pass`;
  const rows = results.map(
    ({ client, version, action, passed, detail }) =>
      `| ${client} ${version} | ${action} | ${passed ? "yes" : "**no**"} | ${passed ? detail : firstLine(detail)} |`,
  );
  return `Run of ${at.slice(0, 10)} at commit \`${commit.slice(0, 12)}\`, scale "${scale}". ${verdict}. "Read" means every record byte for byte and in order, with keys, headers and null values as far as the client shows them; "killed in the middle" means that the broker got \`kill -9\` half-way and was started again.

| client | what it did | passed | with |
|---|---|---|---|
${rows.join("\n")}`;
}

const firstLine = (text: string): string => (text.split("\n")[0] ?? "").replaceAll("|", "\\|");
