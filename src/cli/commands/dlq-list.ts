/** `holdfast queue dlq list`: topics that are made for dead letters, or that a share group sends its own to. */
import type { Admin } from "../../client/admin.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatTable } from "../table.ts";

export interface DlqListOptions extends ConnectionOptions {
  readonly json?: boolean;
}

export async function dlqList({ terminal, options }: Invocation<DlqListOptions>): Promise<ExitCode> {
  await using client = connect(options, terminal);
  const admin = client.admin();
  const groupsOf = await groupsByTopic(admin);
  const topics = await deadLetterTopics(admin, new Set(groupsOf.keys()));
  const found: { topic: string; letters: number; left: number; groups: readonly string[] }[] = [];
  for (const topic of topics) {
    const { letters, left } = await client.deadLetters(topic).count();
    found.push({ topic, letters, left, groups: groupsOf.get(topic) ?? [] });
  }
  if (options.json === true) {
    await terminal.stdout.write(found.map((each) => `${JSON.stringify(each)}\n`).join(""));
  } else if (found.length === 0) {
    await terminal.stderr.write(
      "There is no dead-letter topic: none has errors.deadletterqueue.group.enable, and no share group names one.\n",
    );
  } else {
    await terminal.stdout.write(
      formatTable(
        ["TOPIC", "LETTERS", "LEFT", "OF QUEUES"],
        found.map(({ topic, letters, left, groups }) => [topic, letters, left, groups.join(", ") || "–"]),
      ),
    );
  }
  return exitCodes.done.code;
}

/** Which share groups send their dead letters where. */
async function groupsByTopic(admin: Admin): Promise<Map<string, string[]>> {
  const groups = await admin.listGroups({ types: ["share"] });
  const found = new Map<string, string[]>();
  if (groups.length === 0) return found;
  const configs = await admin.describeConfigs(groups.map(({ group }) => ({ group })));
  for (const { owner, entries } of configs) {
    const topic = entries.find(({ name }) => name === "errors.deadletterqueue.topic.name")?.value ?? "";
    if (topic === "" || !("group" in owner)) continue;
    found.set(topic, [...(found.get(topic) ?? []), owner.group]);
  }
  return found;
}

async function deadLetterTopics(admin: Admin, named: ReadonlySet<string>): Promise<readonly string[]> {
  const all = await admin.listTopics();
  if (all.length === 0) return [];
  const configs = await admin.describeConfigs(all.map(({ name }) => ({ topic: name })));
  return configs
    .flatMap(({ owner, entries }) => {
      if (!("topic" in owner)) return [];
      const isMade = entries.some(
        ({ name, value }) => name === "errors.deadletterqueue.group.enable" && value === "true",
      );
      return isMade || named.has(owner.topic) ? [owner.topic] : [];
    })
    .toSorted();
}
