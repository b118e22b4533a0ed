/** What tests of consumer groups have in common: members in processes of their own, which can be killed or stopped. */
import type { TestContext } from "node:test";
import type { Clock, Socket, Timer } from "../src/base/ports.ts";
import { type Client, createClient } from "../src/client/client.ts";
import type { GroupConsumer } from "../src/client/group/group-consumer.ts";
import type { GroupConsumerOptions } from "../src/client/group/options.ts";
import type { IncomingRecord } from "../src/client/incoming-record.ts";
import { OffsetFetch } from "../src/protocol/messages/offset-fetch.ts";
import type { SimulatedBroker } from "./simulated-broker.ts";

export const text = ({ value }: IncomingRecord): string => String(value);

/** One process with a client: what it does ends at a kill, and waits while it is stopped. */
export class Process {
  readonly client: Client;
  readonly #sockets = new Set<Socket>();
  readonly #held: (() => void)[] = [];
  isAlive = true;
  #isStopped = false;

  constructor(test: TestContext, broker: SimulatedBroker, bootstrap = broker.address) {
    const ports = broker.clientPorts();
    this.client = createClient(
      { bootstrap },
      {
        ...ports,
        clock: this.#clockOn(ports.clock),
        dialer: {
          dial: async (address, options) => {
            const socket = await ports.dialer.dial(address, options);
            if (!this.isAlive) socket.destroy();
            this.#sockets.add(socket);
            return socket;
          },
        },
      },
    );
    // Closing would wait for a world that nobody runs any more.
    test.after(() => this.kill());
  }

  /** A member of group g that reads t. */
  member(options: Partial<GroupConsumerOptions> = {}): GroupConsumer {
    return this.client.consumer({ group: "g", topic: "t", ...options });
  }

  /** As kill −9: nothing it scheduled happens, and its connections end. */
  kill(): void {
    this.isAlive = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** As SIGSTOP: time goes on without it. */
  stop(): void {
    this.#isStopped = true;
  }

  /** As SIGCONT. */
  cont(): void {
    this.#isStopped = false;
    for (const run of this.#held.splice(0)) run();
  }

  #clockOn(clock: Clock): Clock {
    return {
      wallMs: () => clock.wallMs(),
      monotonicMs: () => clock.monotonicMs(),
      schedule: (delayMs: number, run: () => void): Timer => {
        let isCancelled = false;
        const guarded = (): void => {
          if (isCancelled || !this.isAlive) return;
          if (this.#isStopped) this.#held.push(guarded);
          else run();
        };
        const timer = clock.schedule(delayMs, guarded);
        return {
          cancel() {
            isCancelled = true;
            timer.cancel();
          },
        };
      },
    };
  }
}

/** Finishes `count` records and commits them. */
export async function finish(consumer: GroupConsumer, count: number): Promise<string[]> {
  const seen: string[] = [];
  for await (const record of consumer) {
    seen.push(text(record));
    if (seen.length === count) {
      await consumer.commitSync();
      break;
    }
  }
  return seen;
}

/** What the group has committed, by partition. */
export async function committed(
  broker: SimulatedBroker,
  group = "g",
): Promise<{ readonly [partition: string]: number }> {
  const request = {
    groupId: "",
    topics: [],
    groups: [{ groupId: group, memberId: null, memberEpoch: -1, topics: null }],
    requireStable: true,
  };
  const { groups } = await broker.ask(OffsetFetch, request, 9);
  return Object.fromEntries(
    (groups[0]?.topics ?? []).flatMap(({ name, partitions }) =>
      partitions.map(({ partitionIndex, committedOffset }) => [`${name}/${partitionIndex}`, committedOffset]),
    ),
  );
}
