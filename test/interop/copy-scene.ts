/**
 * Copiers at work before brokers that somebody else starts, kills and ends: records arrive in a topic, members of a
 * group copy them to another one in transactions, somebody reads the copy meanwhile, and another client when all is
 * over; both must see every record once. Topics and group carry the scene's name, so several may play at a time.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, createClient } from "../../src/entry/client.ts";
import { type Running, start } from "../../tools/processes.ts";
import { Cast } from "./cast.ts";
import type { Copier } from "./copiers.ts";
import { CopyJudge, CopyRead } from "./copy-judge.ts";
import type { Follower } from "./followers.ts";
import { type Input, writing } from "./input.ts";

export interface CopySceneOptions {
  readonly name: string;
  readonly copier: Copier;
  readonly address: string;
  readonly sessionMs: number;
  /** Of a transaction; a paused copier sleeps longer. */
  readonly timeoutMs: number;
  readonly pauseMs: number;
  readonly recordsPerSecond: number;
  readonly recordsMax: number;
  /** How long everything may take to be copied at the end. */
  readonly drainMs: number;
  /** How long after a commit was answered its offsets may not be told yet. */
  readonly markersMs: number;
  /** Who reads while the copiers work, and who at the end. */
  readonly during: Follower;
  readonly after: Follower;
  /** Told what copiers print. */
  readonly tell?: ((line: string) => void) | undefined;
}

const partitionCount = 8;
const askMs = 400;
/** A broker that is killed is there again within this. */
const sendMs = 60_000;
const readMs = 60_000;
/** Whoever has read all may read more than that. */
const extraMs = 1_000;

export class CopyScene {
  readonly judge = new CopyJudge(partitionCount);
  readonly #options: CopySceneOptions;
  readonly #client: Client;
  readonly #ids = new TransactionalIds();
  readonly #cast: Cast;
  readonly #during: Following;
  readonly #watch: Watch;
  readonly #load: Input;

  /** Makes the topics and begins to write; nobody copies before the first `join`. */
  static async start(options: CopySceneOptions): Promise<CopyScene> {
    const client = createClient({ bootstrap: options.address });
    for (const topic of [`${options.name}-orders`, `${options.name}-copies`])
      await client.admin().createTopic({ topic, partitions: partitionCount });
    return new CopyScene(options, client);
  }

  private constructor(options: CopySceneOptions, client: Client) {
    const { name, copier, address, sessionMs, timeoutMs, pauseMs, recordsPerSecond, recordsMax } = options;
    this.#options = options;
    this.#client = client;
    this.#cast = new Cast({
      command: (member) =>
        copier.command({
          address,
          input: this.#input,
          output: this.#output,
          group: name,
          protocol: copier.protocol,
          transactionalId: this.#ids.of(member, name),
          sessionMs,
          timeoutMs,
        }),
      hear: (member, line) => {
        options.tell?.(`${member} ${line}`);
        this.judge.line(member, line);
      },
      fault: (fault) => this.judge.accuse(fault),
      tellsLeaving: true,
      pauseMs,
    });
    this.#during = this.#following(options.during);
    this.#watch = watching(client, name, this.judge, options.markersMs);
    const producer = client.producer({ lingerMs: 5, deliveryTimeoutMs: sendMs });
    this.#load = writing(producer, this.#input, partitionCount, recordsPerSecond, recordsMax);
  }

  get #input(): string {
    return `${this.#options.name}-orders`;
  }
  get #output(): string {
    return `${this.#options.name}-copies`;
  }

  join(member: number): Promise<void> {
    return this.#cast.join(member);
  }
  leave(member: number): void {
    this.#cast.leave(member);
  }
  kill(member: number): void {
    this.#cast.kill(member);
    this.#ids.free(member);
  }
  pause(member: number): void {
    this.#cast.pause(member);
  }

  /** When all is copied, read and judged: how many records there are, and how many that are not committed. */
  async end(): Promise<{ readonly records: number; readonly hidden: number }> {
    await this.#cast.resumed();
    const ends = await this.#load.end();
    const records = ends.reduce((sum, end) => sum + end, 0);
    await this.#copied(ends);
    await this.#cast.end();
    await this.#watch.end();
    await this.#during.hasRead(ends);
    await this.#following(this.#options.after).hasRead(ends);
    const written = await countOf(this.#client, this.#output);
    return { records, hidden: written - records };
  }

  /** Nobody outlives a scene, whatever came of it. */
  async dismiss(): Promise<void> {
    this.#load.stop();
    this.#watch.stop();
    this.#during.stop();
    this.#cast.dismiss();
    await this.#client.close();
  }

  /** Waits until the group has committed everything. */
  async #copied(ends: readonly number[]): Promise<void> {
    const { drainMs } = this.#options;
    const deadline = performance.now() + drainMs;
    const missing = (): readonly string[] => this.#watch.missing(ends);
    while (missing().length > 0 && this.#cast.isWorking && performance.now() < deadline) await sleep(100);
    if (missing().length === 0) return;
    const why = this.#cast.isWorking ? `after ${drainMs} ms` : "and no copier is left";
    this.judge.accuse(`not everything is committed ${why}: partition ${missing().join(", ")}`);
  }

  /** Starts a reader of the output. */
  #following(follower: Follower): Following {
    const { judge } = this;
    const read = new CopyRead(judge, follower.client, partitionCount);
    let isAsked = false;
    const running = follower.command(this.#options.address, this.#output).then(({ command, env }) => {
      const [program, ...args] = command;
      const process: Running = start(program, args, {
        ...(env === undefined ? {} : { env }),
        onLine: (line) => read.line(line),
      });
      void process.ended.then(({ code, signal, stderr }) => {
        if (!isAsked) judge.accuse(`${follower.client} ended with ${code ?? signal}: ${stderr.slice(-1500)}`);
      });
      return process;
    });
    const stop = (): void => {
      isAsked = true;
      void running.then((process) => process.signal("SIGKILL"));
    };
    return {
      stop,
      hasRead: async (ends) => {
        const process = await running;
        const records = ends.reduce((sum, end) => sum + end, 0);
        const deadline = performance.now() + readMs;
        while (read.count < records && process.isRunning() && performance.now() < deadline) await sleep(50);
        await sleep(extraMs);
        stop();
        await process.ended;
        read.finish(ends);
      },
    };
  }
}

interface Following {
  /** Gives it time to read all, and what must not be there. */
  hasRead(ends: readonly number[]): Promise<void>;
  stop(): void;
}

interface Watch {
  missing(ends: readonly number[]): string[];
  stop(): void;
  end(): Promise<void>;
}

/** Whoever joins takes over the transactional id of one that was killed, and with it an open transaction. */
class TransactionalIds {
  readonly #members = new Map<number, number>();

  of(member: number, group: string): string {
    const taken = new Set(this.#members.values());
    let free = 0;
    while (taken.has(free)) free += 1;
    this.#members.set(member, free);
    return `${group}-${free}`;
  }

  free(member: number): void {
    this.#members.delete(member);
  }
}

/** Asks what the group has committed, again and again; a commit may take `lateMs` to be seen. */
function watching(client: Client, group: string, judge: CopyJudge, lateMs: number): Watch {
  const admin = client.admin();
  const newest = new Map<number, number>();
  let isEnding = false;
  const marks: { readonly atMs: number; readonly mark: number }[] = [];
  const settle = (): void => {
    const nowMs = performance.now();
    marks.push({ atMs: nowMs, mark: judge.mark() });
    while (marks[0] !== undefined && marks[0].atMs + lateMs <= nowMs) judge.settle(marks.shift()?.mark);
  };
  const ask = async (): Promise<void> => {
    try {
      const committed = await admin.listGroupOffsets(group);
      judge.asked(committed);
      for (const { partition, offset } of committed) newest.set(partition, offset);
    } catch {
      // The broker is being started again.
    }
  };
  const work = (async () => {
    while (!isEnding) {
      settle();
      await ask();
      await sleep(askMs);
    }
  })();
  return {
    missing: (ends) =>
      ends.flatMap((end, partition) => {
        const committed = newest.get(partition) ?? 0;
        return committed === end ? [] : [`${partition}: ${committed} of ${end}`];
      }),
    stop: () => {
      isEnding = true;
    },
    end: async () => {
      isEnding = true;
      await work;
      judge.settle();
      await ask();
    },
  };
}

/** Records of a topic, whether committed or not. */
async function countOf(client: Client, topic: string): Promise<number> {
  let count = 0;
  const consumer = client.consumer({ topic, from: "start", until: "end", isolation: "uncommitted" });
  for await (const { records } of consumer.batches()) count += records.length;
  return count;
}
