/**
 * Clients as members of a consumer group. Their programs understand one more line of arguments,
 *
 *   member ADDRESS TOPIC GROUP PROTOCOL COMMITS SESSION_MS
 *
 * PROTOCOL is classic (eager, range or round robin), cooperative (classic, cooperative-sticky) or consumer
 * (KIP-848); COMMITS is sync or async, by turns. A member handles records in lots, prints
 *
 *   owns GENERATION PARTITION…         when it was given partitions: all of them, or those; "-": it cannot tell
 *   did PARTITION OFFSET VALUE         per record, before it commits the lot
 *   committed PARTITION OFFSET         per partition, when the broker has said so
 *   refused REASON                     when a commit, or what else a group asks, failed; it goes on
 *   left                               at the end: on SIGTERM it leaves the group
 */
import { kcat } from "../../tools/toolbox.ts";
import type { Client } from "./exchange.ts";
import {
  confluentProgram,
  franzGoProgram,
  holdfastProgram,
  javaProgramOf,
  kafkaJsProgram,
  kafkaPythonProgram,
  platformaticProgram,
  type Program,
  type ProgramClient,
  saramaProgram,
} from "./programs.ts";

export const groupProtocols = ["classic", "cooperative", "consumer"] as const;
export type GroupProtocol = (typeof groupProtocols)[number];

export interface Membership {
  readonly address: string;
  readonly topic: string;
  readonly group: string;
  readonly protocol: GroupProtocol;
  readonly commits: "sync" | "async";
  readonly sessionMs: number;
}

export interface Member extends Client {
  /** Why it is in no group of a protocol, as a sentence. */
  readonly lacks: Partial<Readonly<Record<GroupProtocol, string>>>;
  /** What cannot be done to it, and why, as a sentence. */
  readonly spared: Partial<Readonly<Record<GroupProtocol, Spared>>>;
  /** So far its commits may be ahead of what it printed. */
  readonly aheadMax: number;
  /** Whether it says that it has left. */
  readonly tellsLeaving: boolean;
  /** The whole command. */
  command(membership: Membership): Promise<Program>;
}

/** Of two things that end a member, or of a pause, the one that its client does not bear. */
export interface Spared {
  readonly event: "leave" | "kill" | "pause";
  readonly instead: "leave" | "kill";
  readonly why: string;
}

/** It is started many times on few processors. */
export const jvmOfMembers: readonly string[] = [
  "-Xmx128m",
  "-XX:+UseSerialGC",
  "-XX:TieredStopAtLevel=1",
  "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
];

export function members(): readonly Member[] {
  const classicOnly = { consumer: "It speaks the classic protocol only." };
  const ours = member(holdfastProgram());
  const java = member(javaProgramOf("4.4.0", jvmOfMembers));
  const go = member(franzGoProgram);
  const librdkafka = member(confluentProgram);
  const platform = member(platformaticProgram);
  const python = member(kafkaPythonProgram, classicOnly);
  const saramaGo = member(saramaProgram, classicOnly);
  const js = member(kafkaJsProgram, { cooperative: "It has no cooperative assignor.", ...classicOnly });
  const mixed = together({
    classic: [ours, java, go, librdkafka, python, saramaGo],
    cooperative: [java, ours, librdkafka, go, python, saramaGo],
    consumer: [java, librdkafka, go, ours],
  });
  return [ours, java, go, librdkafka, kcatMember(), js, platform, python, saramaGo, mixed];
}

function member(
  { client, program }: ProgramClient,
  lacks: Member["lacks"] = {},
  spared: Member["spared"] = {},
): Member {
  return {
    ...client,
    lacks,
    spared,
    aheadMax: 0,
    tellsLeaving: true,
    command: async ({ address, topic, group, protocol, commits, sessionMs }) => {
      const { command, ...rest } = await program();
      const told = ["member", address, topic, group, protocol, commits, String(sessionMs)];
      return { command: [...command, ...told], ...rest };
    },
  };
}

/** Clients that have an assignor in common, one after the other, in one group. */
function together(casts: Readonly<Record<GroupProtocol, readonly Member[]>>): Member {
  const names = new Set(groupProtocols.flatMap((protocol) => casts[protocol].map(({ client }) => client)));
  let joined = 0;
  return {
    client: [...names].join(", "),
    version: "in one group",
    language: "several",
    lacks: {},
    spared: {},
    aheadMax: 0,
    tellsLeaving: true,
    command: (membership) => {
      const cast = casts[membership.protocol];
      const next = cast[joined % cast.length];
      joined += 1;
      if (next === undefined) throw new Error(`Nobody joins a group of ${membership.protocol}`);
      return next.command(membership);
    },
  };
}

/**
 * Kcat prints and leaves committing to librdkafka, which commits what it has handed out: a record that kcat is
 * about to print may be committed already. It does not tell what it owns.
 */
function kcatMember(): Member {
  const why =
    "asked to end, it drops the record at hand, which librdkafka then commits; so its members are killed instead";
  return {
    client: "kcat (librdkafka)",
    version: "1.7.1 (2.0.2)",
    language: "C",
    lacks: {
      cooperative: "It assigns partitions in the eager way by itself.",
      consumer: "Its librdkafka speaks the classic protocol only.",
    },
    spared: { classic: { event: "leave", instead: "kill", why } },
    aheadMax: 1,
    tellsLeaving: false,
    command: async ({ address, topic, group, commits, sessionMs }) => {
      const settings = [
        `session.timeout.ms=${sessionMs}`,
        `heartbeat.interval.ms=${sessionMs / 5}`,
        `auto.commit.interval.ms=${commits === "sync" ? 50 : 500}`,
        "auto.offset.reset=earliest",
        "partition.assignment.strategy=range",
        "broker.address.family=v4",
        "reconnect.backoff.max.ms=500",
      ].flatMap((setting) => ["-X", setting]);
      const args = ["-b", address, "-E", "-u", "-f", "did %p %o %s\\n", ...settings, "-G", group, topic];
      return { command: [await kcat(), ...args] };
    },
  };
}
