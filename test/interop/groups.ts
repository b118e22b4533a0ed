/**
 * Plays a story to a consumer group: a broker and the members as processes, records written all the while by
 * our own producer, events as the story tells them, and at the end everything committed. What the members print
 * and the broker says is judged; the broker's own end counts as well.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "../../src/entry/client.ts";
import { type Broker, type BrokerKind, startBroker } from "../../tools/brokers.ts";
import { type Running, start } from "../../tools/processes.ts";
import { type GroupCounts, GroupJudge } from "./group-judge.ts";
import type { GroupEvent, GroupStory } from "./group-story.ts";
import type { GroupProtocol, Member } from "./members.ts";

export interface GroupPlay {
  readonly member: Member;
  readonly protocol: GroupProtocol;
  readonly story: GroupStory;
  readonly target: BrokerKind;
  /** An empty directory. */
  readonly directory: string;
  readonly sessionMs: number;
  readonly pauseMs: number;
  readonly recordsPerSecond: number;
  /** How long everything may take to be committed at the end. */
  readonly drainMs: number;
}

export interface GroupOutcome extends GroupCounts {
  readonly violations: readonly string[];
  readonly seconds: number;
}

const partitionCount = 16;
const topic = "records";
const group = "workers";
/** So often the broker is asked, and so long lines may take from a member's pipe to here. */
const askMs = 400;
const tickMs = 50;
/** A member that is asked to end does so within this, also when the broker is being started again. */
const leaveMs = 45_000;
const startMs = 4_000;
const moreMs = 3_000;
/** A broker that is killed is there again within this. */
const sendMs = 60_000;
/** A Java process ends with 128 + SIGTERM when it is asked to end. */
const javaTerminated = 143;

export async function playGroup(play: GroupPlay): Promise<GroupOutcome> {
  const begun = performance.now();
  const broker = await startBroker(play.target, {
    directory: play.directory,
    settings: brokerSettings(play),
  });
  const judge = new GroupJudge(partitionCount, play.member.aheadMax);
  const faults: string[] = [];
  const cast = new Cast(play, broker.address, judge, faults);
  try {
    await perform(play, broker, cast, judge, faults);
  } finally {
    cast.dismiss();
    await broker.kill();
  }
  return {
    ...judge.counts,
    violations: [...faults, ...judge.violations],
    seconds: Math.round(performance.now() - begun) / 1000,
  };
}

async function perform(
  play: GroupPlay,
  broker: Broker,
  cast: Cast,
  judge: GroupJudge,
  faults: string[],
): Promise<void> {
  await using client = createClient({ bootstrap: broker.address });
  const admin = client.admin();
  await admin.createTopic({ topic, partitions: partitionCount });
  const watch = watching(judge, () => admin.listGroupOffsets(group));
  const load = loading(client.producer({ lingerMs: 5, deliveryTimeoutMs: sendMs }), play.recordsPerSecond);
  try {
    for (const { afterMs, event } of play.story) {
      await sleep(afterMs);
      await happen(event, play, broker, cast);
    }
    await cast.resumed();
  } catch (cause) {
    load.stop();
    watch.stop();
    throw cause;
  }
  const ends = await load.end();
  const deadline = performance.now() + play.drainMs;
  const missing = (): string[] =>
    ends.flatMap((end, partition) => {
      const committed = watch.committed(partition);
      return committed === end ? [] : [`${partition}: ${committed} of ${end}`];
    });
  let nextMs = performance.now() + moreMs;
  while (missing().length > 0 && cast.isWorking && performance.now() < deadline) {
    await sleep(100);
    if (performance.now() < nextMs) continue;
    // A commit that was refused in a rebalance is made up for by the next one, which needs a record.
    await load.more();
    nextMs = performance.now() + moreMs;
  }
  if (missing().length > 0) {
    const why = cast.isWorking ? `after ${play.drainMs} ms` : "and no member is left";
    faults.push(`not everything is committed ${why}: partition ${missing().join(", ")}`);
  }
  await cast.end();
  await watch.end();
  judge.finish(ends);
  await client.close();
  const ended = await broker.stop();
  if (play.target === "holdfast" && ended.code !== 0) {
    faults.push(`the broker ended with ${ended.code ?? ended.signal}: ${ended.stderr.slice(-2000)}`);
  }
}

async function happen(
  event: GroupEvent,
  { member, protocol }: GroupPlay,
  broker: Broker,
  cast: Cast,
): Promise<void> {
  if (event.kind === "broker") {
    await broker.kill();
    await broker.start();
    return;
  }
  const spared = member.spared[protocol];
  const kind = spared?.event === event.kind ? spared.instead : event.kind;
  if (kind === "join") await cast.join(event.member);
  else if (kind === "leave") cast.leave(event.member);
  else if (kind === "kill") cast.kill(event.member);
  else cast.pause(event.member);
}

/** Short sessions, so that a dead member is missed soon; the members of KIP-848 are told theirs by the broker. */
function brokerSettings({ target, sessionMs }: GroupPlay): string[] {
  const settings = {
    "group.min.session.timeout.ms": 1_000,
    "group.initial.rebalance.delay.ms": 200,
    "group.consumer.session.timeout.ms": sessionMs,
    "group.consumer.heartbeat.interval.ms": sessionMs / 10,
    ...(target === "holdfast"
      ? {}
      : {
          "group.consumer.min.session.timeout.ms": 1_000,
          "group.consumer.min.heartbeat.interval.ms": 100,
          "offsets.topic.num.partitions": 4,
        }),
  };
  return Object.entries(settings).flatMap(([name, value]) =>
    target === "holdfast" ? ["--set", `${name}=${value}`] : [`${name}=${value}`],
  );
}

interface Actor {
  readonly running: Running;
  /** Its last whole line. */
  readonly last: () => string;
}

/** The members that joined. */
class Cast {
  readonly #play: GroupPlay;
  readonly #address: string;
  readonly #judge: GroupJudge;
  readonly #faults: string[];
  readonly #running = new Map<number, Actor>();
  readonly #leaving: Promise<void>[] = [];
  readonly #resuming: Promise<void>[] = [];

  constructor(play: GroupPlay, address: string, judge: GroupJudge, faults: string[]) {
    this.#play = play;
    this.#address = address;
    this.#judge = judge;
    this.#faults = faults;
  }

  get isWorking(): boolean {
    return this.#running.size > 0;
  }

  /** Waits until the member says something, so that the story is about members that work. */
  async join(member: number): Promise<void> {
    const { member: of, protocol, sessionMs } = this.#play;
    const { command, env } = await of.command({
      address: this.#address,
      topic,
      group,
      protocol,
      commits: member % 2 === 0 ? "sync" : "async",
      sessionMs,
    });
    const [program, ...args] = command;
    let rest = "";
    let last = "";
    let hear = (): void => undefined;
    const heard = new Promise<void>((resolve) => {
      hear = resolve;
    });
    const running = start(program, args, {
      ...(env === undefined ? {} : { env }),
      onBytes: (bytes) => {
        hear();
        const lines = (rest + bytes.toString()).split("\n");
        // Who is killed may leave half a line.
        rest = lines.pop() ?? "";
        for (const line of lines) this.#judge.line(member, line);
        last = lines.at(-1) ?? last;
      },
    });
    this.#running.set(member, { running, last: () => last });
    void running.ended.then(
      ({ code, signal, stderr }) => {
        // Whoever left or was killed is not among them any more.
        if (!this.#running.delete(member)) return;
        const said = `${last} ${stderr.slice(-1500)}`;
        this.#faults.push(`member ${member} ended by itself with ${code ?? signal}: ${said}`);
      },
      (cause: unknown) => this.#faults.push(`member ${member} did not start: ${String(cause)}`),
    );
    await Promise.race([heard, running.ended, sleep(startMs)]);
  }

  leave(member: number): void {
    const actor = this.#part(member);
    if (actor === undefined) return;
    const { running, last } = actor;
    running.signal("SIGTERM");
    const late = setTimeout(() => running.signal("SIGKILL"), leaveMs);
    const left = running.ended.then(({ code, signal, stderr }) => {
      clearTimeout(late);
      // It was asked before it could listen to that.
      if ((signal === "SIGTERM" || code === javaTerminated) && last() === "") return;
      const isWell = code === 0 || code === javaTerminated;
      if (isWell && (!this.#play.member.tellsLeaving || last() === "left")) return;
      this.#faults.push(
        `member ${member} was asked to leave and ended with ${code ?? signal}: ${stderr.slice(-1500)}`,
      );
    });
    this.#leaving.push(left);
  }

  kill(member: number): void {
    this.#part(member)?.running.signal("SIGKILL");
  }

  pause(member: number): void {
    const running = this.#running.get(member)?.running;
    if (running === undefined) return;
    running.signal("SIGSTOP");
    this.#resuming.push(sleep(this.#play.pauseMs).then(() => running.signal("SIGCONT")));
  }

  /** All that were stopped run again. */
  async resumed(): Promise<void> {
    await Promise.all(this.#resuming);
  }

  /** Asks all to leave and waits for those that did before, too. */
  async end(): Promise<void> {
    for (const member of this.#running.keys()) this.leave(member);
    await Promise.all(this.#leaving);
  }

  /** Nobody outlives a play that failed. */
  dismiss(): void {
    for (const member of this.#running.keys()) this.#part(member)?.running.signal("SIGKILL");
  }

  #part(member: number): Actor | undefined {
    const actor = this.#running.get(member);
    this.#running.delete(member);
    return actor;
  }
}

interface Sender {
  send(record: { topic: string; partition: number; value: string }): Promise<{ readonly offset: number }>;
}

/** Writes numbered records to all partitions until `end`, which answers where each partition ends. */
function loading(
  producer: Sender,
  recordsPerSecond: number,
): { stop(): void; end(): Promise<number[]>; more(): Promise<void> } {
  const ends = Array.from({ length: partitionCount }, () => 0);
  const sent: Promise<void>[] = [];
  let isEnding = false;
  const perTick = Math.max(1, Math.round((recordsPerSecond * tickMs) / 1000));
  const send = async (partition: number): Promise<void> => {
    const due = ends[partition] ?? 0;
    ends[partition] = due + 1;
    const { offset } = await producer.send({ topic, partition, value: GroupJudge.value(partition, due) });
    if (offset !== due) throw new Error(`Record ${due} of partition ${partition} is at ${offset}`);
  };
  const work = (async () => {
    for (let place = 0; !isEnding; place += perTick) {
      for (let index = 0; index < perTick; index += 1) {
        sent.push(send((place + index) % partitionCount));
        // Awaited at the end.
        sent.at(-1)?.catch(() => undefined);
      }
      await sleep(tickMs);
    }
  })();
  return {
    stop: () => {
      isEnding = true;
    },
    end: async () => {
      isEnding = true;
      await work;
      await Promise.all(sent);
      return ends;
    },
    // `ends` of the end grows with it.
    more: async () => {
      await Promise.all(ends.map((_, partition) => send(partition)));
    },
  };
}

/** Asks for what is committed again and again, and lets it be judged when the lines from before have arrived. */
function watching(
  judge: GroupJudge,
  ask: () => Promise<readonly { readonly partition: number; readonly offset: number }[]>,
): { committed(partition: number): number; stop(): void; end(): Promise<void> } {
  const newest = new Map<number, number>();
  let isEnding = false;
  const work = (async () => {
    while (!isEnding) {
      const mark = judge.mark();
      await sleep(askMs);
      judge.settle(mark);
      try {
        const committed = await ask();
        judge.asked(committed);
        for (const { partition, offset } of committed) newest.set(partition, offset);
      } catch {
        // The broker is being started again.
      }
    }
  })();
  return {
    committed: (partition) => newest.get(partition) ?? 0,
    stop: () => {
      isEnding = true;
    },
    end: async () => {
      isEnding = true;
      await work;
    },
  };
}
