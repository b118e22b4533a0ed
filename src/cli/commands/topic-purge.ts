/** `holdfast topic purge`: DeleteRecords (KIP-107) is not in the protocol that this program speaks, so it says what does the same. */
import { RefusedError } from "../../base/errors.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import type { ExitCode } from "../exit-codes.ts";

export async function topicPurge({
  terminal,
  args,
  options,
}: Invocation<ConnectionOptions>): Promise<ExitCode> {
  const [topic = ""] = args;
  await using client = connect(options, terminal);
  const { partitions } = await client.admin().describeTopic(topic);
  throw new RefusedError(
    `Nothing was deleted: this program cannot ask for DeleteRecords yet, and a broker of Holdfast does not offer it. To begin anew, run holdfast topic delete ${topic}, and then holdfast topic create ${topic} --partitions ${partitions.length}; to let records go by age or size, set retention.ms or retention.bytes with holdfast topic alter.`,
  );
}
