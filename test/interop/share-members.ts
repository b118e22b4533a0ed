/**
 * Clients as members of a share group. Their programs understand one more line of arguments,
 *
 *   share ADDRESS TOPIC GROUP MODE
 *
 * MODE is explicit or implicit acknowledgement. A member accepts what it is given, and releases some of it once
 * where it can say so; poison (share-jobs.ts) it rejects, where it can say so, or dies of. Times are ms since 1970, and
 * each line is out before what it is about goes on:
 *
 *   got MS PARTITION OFFSET DELIVERIES VALUE   per record that it was given
 *   accepts PARTITION OFFSET                   before it asks for that
 *   accepted MS PARTITION OFFSET               when the broker has said so
 *   released MS PARTITION OFFSET               the same of a release
 *   rejected MS PARTITION OFFSET               the same of a rejection
 *   dies PARTITION OFFSET                      with code 1, or by a signal
 *   refused MS PARTITION OFFSET state|unknown  it is not the member's any more, or nobody said what became of it
 *   why REASON                                 behind these, for whoever reads them
 *   left                                       at the end: on SIGTERM it leaves the group
 */
import type { KafkaClientVersion } from "../../tools/toolbox.ts";
import type { Client } from "./exchange.ts";
import { jvmOfMembers } from "./members.ts";
import { holdfastProgram, javaProgramOf, type Program, type ProgramClient } from "./programs.ts";

export const shareModes = ["explicit", "implicit"] as const;
export type ShareMode = (typeof shareModes)[number];

export interface ShareMembership {
  readonly address: string;
  readonly topic: string;
  readonly group: string;
  readonly mode: ShareMode;
}

export interface ShareMember extends Client {
  command(membership: ShareMembership): Promise<Program>;
}

export function shareMembers(): readonly ShareMember[] {
  return [ourShareMember(), javaShareMember("4.3.0"), javaShareMember("4.4.0")];
}

/** Explicitly it loops over messages, implicitly it has handlers run. */
export function ourShareMember(): ShareMember {
  return shareMember(holdfastProgram());
}

export function javaShareMember(version: KafkaClientVersion): ShareMember {
  return shareMember(javaProgramOf(version, jvmOfMembers));
}

function shareMember({ client, program }: ProgramClient): ShareMember {
  return {
    ...client,
    command: async ({ address, topic, group, mode }) => {
      const { command, ...rest } = await program();
      return { command: [...command, "share", address, topic, group, mode], ...rest };
    },
  };
}
