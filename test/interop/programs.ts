/**
 * The small programs that use a client, each in the client's language, by the client that they use. `clients.ts`
 * and `members.ts` say what they are told and what they print.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  goProgram,
  javaProgram,
  kafkaClientsClasspath,
  type KafkaClientVersion,
  nodePackages,
  pythonPackages,
  repositoryRoot,
} from "../../tools/toolbox.ts";
import type { Client } from "./exchange.ts";

/** How a program is started; its own arguments follow. */
export interface Program {
  readonly command: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
}

export interface ProgramClient {
  readonly client: Client;
  /** Builds it when that was not done yet. */
  readonly program: () => Promise<Program>;
}

const here = import.meta.dirname;

export function javaProgramOf(version: KafkaClientVersion, jvm: readonly string[]): ProgramClient {
  return {
    client: { client: "kafka-clients", version, language: "Java" },
    program: async () => {
      const classpath = await javaProgram(join(here, "java"), await kafkaClientsClasspath(version));
      return { command: ["java", ...jvm, "-cp", classpath, "Wire"] };
    },
  };
}

export const franzGoProgram: ProgramClient = {
  client: { client: "franz-go", version: "1.22.2", language: "Go" },
  program: async () => ({ command: [await goProgram(join(here, "go"), "franz-go")] }),
};

export const saramaProgram: ProgramClient = {
  client: { client: "sarama", version: "1.61.1", language: "Go" },
  program: async () => ({ command: [await goProgram(join(here, "go"), "sarama")] }),
};

export const confluentProgram: ProgramClient = {
  client: { client: "confluent-kafka (librdkafka)", version: "2.16.1", language: "Python" },
  program: () => pythonProgram("confluent.py"),
};

export const kafkaPythonProgram: ProgramClient = {
  client: { client: "kafka-python", version: "3.0.12", language: "Python" },
  program: () => pythonProgram("kafka_python.py"),
};

export const kafkaJsProgram: ProgramClient = {
  client: { client: "KafkaJS", version: "2.2.4", language: "JavaScript" },
  program: () => nodeProgram("kafkajs.ts"),
};

export const platformaticProgram: ProgramClient = {
  client: { client: "@platformatic/kafka", version: "2.12.1", language: "TypeScript" },
  program: () => nodeProgram("platformatic.ts"),
};

/** Our own client. */
export function holdfastProgram(): ProgramClient {
  const path = join(repositoryRoot, "package.json");
  const { version } = JSON.parse(readFileSync(path, "utf8")) as { version: string };
  return {
    client: { client: "holdfast/client", version, language: "TypeScript" },
    program: () => nodeProgram("holdfast.ts"),
  };
}

async function pythonProgram(file: string): Promise<Program> {
  const packages = await pythonPackages(join(here, "python", "requirements.txt"));
  return {
    command: ["python3", join(here, "python", file)],
    env: { PYTHONPATH: packages, PYTHONDONTWRITEBYTECODE: "1" },
  };
}

async function nodeProgram(file: string): Promise<Program> {
  const ours = join(repositoryRoot, "node_modules/.bin/node");
  const node = existsSync(ours) ? ours : process.execPath;
  const packages = await nodePackages(join(here, "node"));
  return { command: [node, join(here, "node", file)], env: { HOLDFAST_NODE_PACKAGES: packages } };
}
