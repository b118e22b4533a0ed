/**
 * Clients as copiers: members of a group that read a topic, write what they read to another topic, and commit
 * both in transactions. Their programs understand one more line of arguments, `copy NAME=VALUE…`:
 *
 *   address, input, output     where, from which topic to which; partitions and values stay the same
 *   group, protocol            as a member of what; protocol: classic, cooperative or consumer (see members.ts)
 *   transactional-id           of this copier; one that was killed leaves it to another
 *   session-ms, timeout-ms     of the membership, and of a transaction
 *   lot                        most records in one transaction
 *   pause-ms                   between the last record of a transaction and its end
 *   aborts-every               after so many transactions one is aborted on purpose
 *
 * A copier prints
 *
 *   committed COUNT PARTITION END…   when a transaction is committed: its records, and its offsets in the group
 *   aborted COUNT                    when one was aborted on purpose; its records are read again
 *   refused REASON                   when a transaction failed; it is given up, and its records are read again
 *   left                             at the end: on SIGTERM it leaves the group
 */
import type { Client } from "./exchange.ts";
import type { GroupProtocol } from "./members.ts";
import { jvmOfMembers } from "./members.ts";
import {
  confluentProgram,
  franzGoProgram,
  holdfastProgram,
  javaProgramOf,
  kafkaJsProgram,
  platformaticProgram,
  type Program,
  type ProgramClient,
} from "./programs.ts";

export interface Copying {
  readonly address: string;
  readonly input: string;
  readonly output: string;
  readonly group: string;
  readonly protocol: GroupProtocol;
  readonly transactionalId: string;
  readonly sessionMs: number;
  readonly timeoutMs: number;
}

export interface Copier extends Client {
  readonly protocol: GroupProtocol;
  /** How its transactions are spoken, as a short name. */
  readonly what: string;
  readonly remark?: string;
  /** Whether a sample has it. */
  readonly inSample: boolean;
  /** No second one can take over from it. */
  readonly isAlone: boolean;
  command(copying: Copying): Promise<Program>;
}

const lot = 100;
const pauseMs = 20;
const abortsEvery = 5;

export function copiers(): readonly Copier[] {
  const old = javaProgramOf("3.9.1", jvmOfMembers);
  const java43 = javaProgramOf("4.3.0", jvmOfMembers);
  const java = javaProgramOf("4.4.0", jvmOfMembers);
  const recovery =
    "With `metadata.recovery.strategy=none`: with its default it may wait for ever in `send_offsets_to_transaction` after the only broker was killed, also before Apache Kafka.";
  const together = "several clients in one group";
  return [
    copier(holdfastProgram(), "classic", "KIP-890"),
    copier(holdfastProgram(), "consumer", "KIP-890, KIP-848", { inSample: false }),
    copier(java, "consumer", "KIP-890, KIP-848"),
    copier(java43, "cooperative", "KIP-890, cooperative", { inSample: false }),
    copier(old, "classic", "before KIP-890"),
    copier(confluentProgram, "classic", "KIP-447", { remark: recovery }),
    copier(confluentProgram, "consumer", "KIP-447, KIP-848", { inSample: false }),
    copier(franzGoProgram, "cooperative", "GroupTransactSession"),
    copier(franzGoProgram, "consumer", "GroupTransactSession, KIP-848", { inSample: false }),
    copier(kafkaJsProgram, "classic", "before KIP-447", {
      remark: "It knows no KIP-447, so a transactional id belongs to a partition, as was usual before it.",
    }),
    copier(platformaticProgram, "classic", "KIP-447", {
      inSample: false,
      remark:
        "One instance, while the broker is killed: it asks for the offsets of its group without waiting for open transactions (`require_stable`), so a second instance that takes a partition over may copy records again, whatever the broker.",
      isAlone: true,
    }),
    mixed(together, [java, old, confluentProgram, franzGoProgram, holdfastProgram()]),
  ];
}

function copier(
  { client, program }: ProgramClient,
  protocol: GroupProtocol,
  what: string,
  more: Partial<Pick<Copier, "inSample" | "isAlone" | "remark">> = {},
): Copier {
  return {
    ...client,
    protocol,
    what,
    inSample: true,
    isAlone: false,
    ...more,
    command: async (copying) => {
      const { command, ...rest } = await program();
      return { command: [...command, "copy", ...wordsOf(copying)], ...rest };
    },
  };
}

function mixed(client: string, casts: readonly ProgramClient[]): Copier {
  let joined = 0;
  const each = casts.map((cast) => copier(cast, "classic", ""));
  return {
    client,
    version: casts.map((cast) => `${cast.client.client} ${cast.client.version}`).join(", "),
    language: "several",
    protocol: "classic",
    what: "classic",
    inSample: false,
    isAlone: false,
    command: (copying) => {
      const next = each[joined % each.length];
      joined += 1;
      if (next === undefined) throw new Error("Nobody copies");
      return next.command(copying);
    },
  };
}

function wordsOf(copying: Copying): readonly string[] {
  const { transactionalId, sessionMs, timeoutMs, ...rest } = copying;
  const told = {
    ...rest,
    "transactional-id": transactionalId,
    "session-ms": sessionMs,
    "timeout-ms": timeoutMs,
    lot,
    "pause-ms": pauseMs,
    "aborts-every": abortsEvery,
  };
  return Object.entries(told).map(([name, value]) => `${name}=${value}`);
}
