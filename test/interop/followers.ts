/**
 * Clients that follow a topic from its start until they are killed, and hand out what is committed only: for
 * each record a line "record PARTITION OFFSET VALUE". Their programs are told `follow address=… topic=…`.
 */
import { kcat } from "../../tools/toolbox.ts";
import { jvmOfMembers } from "./members.ts";
import {
  franzGoProgram,
  holdfastProgram,
  javaProgramOf,
  type Program,
  type ProgramClient,
} from "./programs.ts";

export interface Follower {
  readonly client: string;
  command(address: string, topic: string): Promise<Program>;
}

export function followers(): readonly Follower[] {
  return [
    { client: "kcat", command: kcatFollowing },
    follower(holdfastProgram()),
    follower(franzGoProgram),
    follower(javaProgramOf("4.4.0", jvmOfMembers)),
  ];
}

function follower({ client, program }: ProgramClient): Follower {
  return {
    client: client.client,
    command: async (address, topic) => {
      const { command, ...rest } = await program();
      return { command: [...command, "follow", `address=${address}`, `topic=${topic}`], ...rest };
    },
  };
}

async function kcatFollowing(address: string, topic: string): Promise<Program> {
  const settings = [
    "isolation.level=read_committed",
    "broker.address.family=v4",
    "reconnect.backoff.max.ms=500",
  ];
  const how = ["-C", "-E", "-q", "-u", "-o", "beginning", "-f", "record %p %o %s\\n"];
  return {
    command: [await kcat(), ...how, ...settings.flatMap((each) => ["-X", each]), "-b", address, "-t", topic],
  };
}
