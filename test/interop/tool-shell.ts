/**
 * Kafka's command line tools (4.3.0) against one broker, all in one JVM, with members of groups beside them:
 * the near end of `tool-shell/ToolShell.java`, which says what the commands mean.
 */
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { type Running, start } from "../../tools/processes.ts";
import { javaProgram, kafkaClasspath } from "../../tools/toolbox.ts";
import { javaHeap } from "./console-tools.ts";

/** How a tool's process would have ended, and what it said. */
export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

type Answer = Partial<Said> & { readonly failure?: string };

export interface ToolShell {
  readonly address: string;
  /** Runs a tool, named by its class below `org.apache.kafka.tools` or in full; adds the broker's address. */
  tool(name: string, ...args: readonly string[]): Promise<Said>;
  produce(topic: string, partition: number, timestampMs: number, count: number): Promise<void>;
  /** As a client that assigns partitions by itself. */
  commit(group: string, topic: string, partition: number, offset: number, metadata: string): Promise<void>;
  /** Resolves when the new member holds so many partitions. */
  join(member: MemberOptions, partitionCount: number): Promise<void>;
  hold(client: string, partitionCount: number): Promise<void>;
  /** Resolves when the member has read and committed everything in its partitions. */
  settle(client: string): Promise<void>;
  leave(client: string): Promise<void>;
  /** A member of a share group that accepts what it is given, and has been given so many records. */
  share(group: string, client: string, topic: string, count: number): Promise<void>;
  /** A producer of a transactional id makes itself known; the one of that id in this shell is forgotten. */
  transactional(id: string, timeoutMs: number): Promise<void>;
  begin(id: string): Promise<void>;
  /** Resolves when the records are acknowledged. */
  send(id: string, topic: string, partition: number, count: number): Promise<void>;
  commitWithin(id: string, group: string, topic: string, partition: number, offset: number): Promise<void>;
  /** Answers `ended`, or by which of Kafka's exceptions the client was told that it cannot. */
  end(id: string, how: "commit" | "abort"): Promise<string>;
  close(): Promise<void>;
}

export interface MemberOptions {
  readonly group: string;
  readonly protocol: "classic" | "consumer";
  /** Its client id; no two members of a shell have the same. */
  readonly client: string;
  readonly instance?: string;
  readonly topic: string;
}

const shellMs = 600_000;

/** Fetches and compiles what shells need; to be awaited before several are opened at once. */
export async function toolShellClasspath(): Promise<string> {
  return javaProgram(join(import.meta.dirname, "tool-shell"), await kafkaClasspath());
}

export async function openToolShell(address: string): Promise<ToolShell> {
  const classpath = await toolShellClasspath();
  const input = new PassThrough();
  const waiting: ((answer: Answer) => void)[] = [];
  const quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=off";
  const process: Running = start("java", [...javaHeap, quiet, "-cp", classpath, "ToolShell", address], {
    input,
    timeoutMs: shellMs,
    onLine: (line) => waiting.shift()?.(JSON.parse(line) as Answer),
  });
  const ask = async (...words: readonly string[]): Promise<Answer> => {
    const answered = new Promise<Answer>((resolve) => waiting.push(resolve));
    input.write(`${JSON.stringify(words)}\n`);
    const ended = process.ended.then(({ code, stderr }): never => {
      throw new Error(`The tools' process ended with ${code}: ${stderr.slice(-4000)}`);
    });
    const answer = await Promise.race([answered, ended]);
    if (answer.failure === undefined) return answer;
    throw new Error(`${words.join(" ")}: ${answer.failure}`);
  };
  return {
    address,
    tool: async (name, ...args) => {
      const className = name.startsWith("kafka.") ? name : `org.apache.kafka.tools.${name}`;
      const {
        code = -1,
        out = "",
        err = "",
      } = await ask("tool", className, "--bootstrap-server", address, ...args);
      return { code, out, err };
    },
    produce: async (topic, partition, timestampMs, count) => {
      await ask("produce", topic, `${partition}`, `${timestampMs}`, `${count}`);
    },
    commit: async (group, topic, partition, offset, metadata) => {
      await ask("commit", group, topic, `${partition}`, `${offset}`, metadata);
    },
    join: async ({ group, protocol, client, instance = "", topic }, partitionCount) => {
      await ask("join", group, protocol, client, instance, topic, `${partitionCount}`);
    },
    hold: async (client, partitionCount) => {
      await ask("hold", client, `${partitionCount}`);
    },
    settle: async (client) => {
      await ask("settle", client);
    },
    leave: async (client) => {
      await ask("leave", client);
    },
    share: async (group, client, topic, count) => {
      await ask("share-join", group, client, topic);
      await ask("share-read", client, `${count}`);
    },
    transactional: async (id, timeoutMs) => {
      await ask("transactional", id, `${timeoutMs}`);
    },
    begin: async (id) => {
      await ask("begin", id);
    },
    send: async (id, topic, partition, count) => {
      await ask("send", id, topic, `${partition}`, `${count}`);
    },
    commitWithin: async (id, group, topic, partition, offset) => {
      await ask("commit-within", id, group, topic, `${partition}`, `${offset}`);
    },
    end: async (id, how) => (await ask("end", id, how)).out ?? "",
    close: async () => {
      input.end();
      await process.ended;
    },
  };
}
