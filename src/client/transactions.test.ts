import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { aClient, all, runFor, sleep, values } from "../../test/consumer-fixture.ts";
import { Door, type Treatment } from "../../test/door.ts";
import { Process } from "../../test/group-fixture.ts";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import type { AnyApi, Api } from "../protocol/api.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { AddPartitionsToTxn } from "../protocol/messages/add-partitions-to-txn.ts";
import { ApiVersions, type ApiVersionsResponse } from "../protocol/messages/api-versions.ts";
import { EndTxn, type EndTxnRequest } from "../protocol/messages/end-txn.ts";
import { FindCoordinator } from "../protocol/messages/find-coordinator.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { OptionError } from "./errors.ts";
import type { TransactionalProducerOptions } from "./options.ts";
import {
  ProducerFencedError,
  TransactionAbortedError,
  TransactionUnknownError,
  TransactionUsageError,
} from "./transaction-errors.ts";
import type { TransactionalProducer } from "./transactional-producer.ts";

interface World {
  readonly broker: SimulatedBroker;
  readonly door: Door;
  /** Runs the world until it settles. */
  readonly run: <T>(promise: Promise<T>) => Promise<T>;
  readonly producer: (options?: Partial<TransactionalProducerOptions>) => TransactionalProducer;
  /** What readers of committed records see, partition by partition. */
  readonly seen: (isolation?: "committed" | "uncommitted") => Promise<string[]>;
}

/** `version` 1: as brokers are before KIP-890. */
async function aWorld(test: TestContext, version: 1 | 2 = 2): Promise<World> {
  const broker = await aBroker(test);
  await broker.createTopic("t", 3);
  const door = await Door.before(broker);
  if (version === 1) {
    door.on(ApiVersions, () => ({
      rewrite: (answer: ApiVersionsResponse) => ({ ...answer, finalizedFeatures: [] }),
    }));
  }
  const run = <T>(promise: Promise<T>): Promise<T> => broker.scheduler.runUntil(promise);
  return {
    broker,
    door,
    run,
    producer: (options = {}) =>
      new Process(test, broker, door.bootstrap).client.producer({ transactionalId: "a", ...options }),
    seen: (isolation = "committed") =>
      run(all(aClient(test, broker).consumer({ topic: "t", until: "end", isolation })).then(values)),
  };
}

const one = (producer: TransactionalProducer, value: string, partition = 0): Promise<unknown> =>
  producer.transaction((tx) => tx.send({ topic: "t", partition, value }));

const versions = [1, 2] as const;

describe("a transaction", () => {
  for (const version of versions) {
    describe(`by the protocol of transaction.version ${version}`, () => {
      it("resolves with what its work returned when all that it sent is committed, in several partitions", async (test) => {
        const { run, producer, seen } = await aWorld(test, version);
        const result = await run(
          producer().transaction(async (tx) => {
            void tx.send({ topic: "t", partition: 0, value: "a" });
            await tx.sendMany(
              [1, 2].map((partition) => ({ topic: "t", partition, value: String(partition) })),
            );
            return "done";
          }),
        );
        assert.equal(result, "done");
        assert.deepEqual((await seen()).toSorted(), ["1", "2", "a"]);
      });

      it("uses the requests of that protocol", async (test) => {
        const { run, door, producer } = await aWorld(test, version);
        const spoken: string[] = [];
        const note = (api: AnyApi): void =>
          door.on(api as Api<unknown, unknown>, (_request, used) => {
            spoken.push(`${api.name} ${used}`);
            return "pass";
          });
        for (const api of [AddPartitionsToTxn, Produce, EndTxn] as readonly AnyApi[]) note(api);
        const tp = producer();
        await run(one(tp, "a"));
        await run(one(tp, "b"));
        const each =
          version === 1 ? ["AddPartitionsToTxn 3", "Produce 11", "EndTxn 4"] : ["Produce 13", "EndTxn 5"];
        assert.deepEqual(spoken, [...each, ...each]);
      });

      it("that throws is aborted: nothing of it is read as committed, and the next one is not affected", async (test) => {
        const { run, producer, seen } = await aWorld(test, version);
        const tp = producer();
        const cause = new Error("no stock");
        await run(
          assert.rejects(
            tp.transaction(async (tx) => {
              await tx.send({ topic: "t", partition: 0, value: "never" });
              throw cause;
            }),
            (error: unknown) => {
              assert(error instanceof TransactionAbortedError);
              assert.deepEqual([error.cause, error.outcome, error.retriable], [cause, "aborted", false]);
              assert.equal(error.message, 'The transaction of "a" was aborted: no stock');
              return true;
            },
          ),
        );
        await run(one(tp, "b"));
        assert.deepEqual(await seen(), ["b"]);
        assert.deepEqual(await seen("uncommitted"), ["never", "b"]);
        assert.deepEqual([tp.stats.committed, tp.stats.aborted, tp.stats.bufferedBytes], [1, 1, 0]);
      });

      it("gives up what is not sent yet when it is aborted, and sends nothing of it later", async (test) => {
        const { run, door, producer, seen } = await aWorld(test, version);
        const tp = producer();
        await run(tp.connect());
        let produced = 0;
        door.on(Produce, () => {
          produced++;
          return "pass";
        });
        await run(
          assert.rejects(
            tp.transaction((tx) => {
              for (let index = 0; index < 100; index++) void tx.send({ topic: "t", value: "never" });
              throw new Error("no");
            }),
            TransactionAbortedError,
          ),
        );
        assert.equal(produced, 0);
        await run(one(tp, "b"));
        assert.deepEqual(await seen("uncommitted"), ["b"]);
      });
    });
  }

  it("has nothing to say to a broker when nothing was sent in it", async (test) => {
    const { run, door, producer } = await aWorld(test);
    const tp = producer();
    assert.equal(await run(tp.transaction(() => 7)), 7);
    await run(
      assert.rejects(
        tp.transaction(() => Promise.reject(new Error("no"))),
        TransactionAbortedError,
      ),
    );
    assert.equal(door.came.get(EndTxn.key) ?? 0, 0);
  });

  it("is aborted when a record of it fails, although its work looks away", async (test) => {
    const { run, producer, seen } = await aWorld(test);
    const tp = producer({ recordBytesMax: 100 });
    const works = [
      (value: string) =>
        tp.transaction(async (tx) => {
          await tx.send({ topic: "t", value: "a" });
          void tx.send({ topic: "t", value });
        }),
      (value: string) =>
        tp.transaction(async (tx) => {
          await tx.send({ topic: "t", value: "a" });
          await tx.sendMany([{ topic: "t", value }]).catch(() => undefined);
        }),
    ];
    for (const work of works) {
      await run(
        assert.rejects(work("x".repeat(200)), /was aborted: .*more than the 100 that this producer takes/),
      );
    }
    assert.deepEqual(await seen(), []);
  });

  it("takes nothing when it is over, or bound to be aborted, and says why", async (test) => {
    const { run, producer } = await aWorld(test);
    const tp = producer({ recordBytesMax: 100 });
    let kept: Parameters<Parameters<typeof tp.transaction>[0]>[0] | undefined;
    await run(
      tp.transaction((tx) => {
        kept = tx;
      }),
    );
    await assert.rejects(
      kept?.send({ topic: "t", value: "late" }) ?? Promise.resolve(),
      /The transaction is over/,
    );
    await run(
      assert.rejects(
        tp.transaction(async (tx) => {
          await tx.send({ topic: "t", value: "x".repeat(200) }).catch(() => undefined);
          await assert.rejects(tx.send({ topic: "t", value: "b" }), /more than the 100/);
        }),
        TransactionAbortedError,
      ),
    );
  });

  it("that is bound to be aborted ends no process that does not look at what it sends", async (test) => {
    const { run, broker, producer } = await aWorld(test);
    const unhandled: unknown[] = [];
    const note = (cause: unknown): void => void unhandled.push(cause);
    process.on("unhandledRejection", note);
    test.after(() => process.off("unhandledRejection", note));
    const tp = producer({ recordBytesMax: 100 });
    await run(
      assert.rejects(
        tp.transaction(async (tx) => {
          void tx.send({ topic: "t", value: "x".repeat(200) });
          void tx.sendMany([{ topic: "t", value: "x".repeat(200) }]);
          await sleep(broker, 10);
          void tx.send({ topic: "t", value: "b" });
          void tx.sendMany([{ topic: "t", value: "c" }]);
        }),
        TransactionAbortedError,
      ),
    );
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(unhandled, []);
  });

  it("is one at a time, and the only way to send", async (test) => {
    const { run, producer, seen } = await aWorld(test);
    const tp = producer();
    await run(
      tp.transaction(async (tx) => {
        await assert.rejects(
          tp.transaction(() => undefined),
          TransactionUsageError,
        );
        await tx.send({ topic: "t", value: "a" });
      }),
    );
    await assert.rejects(tp.send({ topic: "t", value: "b" }), /sends in transactions only/);
    assert.deepEqual(await seen(), ["a"]);
  });

  it("needs a name, and acks all", async (test) => {
    const { producer } = await aWorld(test);
    assert.throws(() => producer({ transactionalId: "" }), OptionError);
    assert.throws(() => producer({ acks: 1, allowLoss: true }), OptionError);
  });

  it("that is under way when its producer is closed is waited for; none begins afterwards", async (test) => {
    const { run, broker, producer, seen } = await aWorld(test);
    const tp = producer();
    const done = tp.transaction(async (tx) => {
      await sleep(broker, 100);
      await tx.send({ topic: "t", value: "a" });
    });
    await run(Promise.all([tp.close(), done]));
    await assert.rejects(one(tp, "b"), /was closed/);
    assert.deepEqual(await seen(), ["a"]);
  });
});

interface Trouble {
  readonly what: string;
  readonly treatment: Treatment;
}
const troubles: readonly Trouble[] = [
  { what: "does not arrive", treatment: "cut-before" },
  { what: "loses its answer", treatment: "cut-after" },
  { what: "is held back", treatment: { heldMs: 3_000 } },
  { what: "comes once more, after transactions that follow", treatment: { echoMs: 500 } },
];
const requests: readonly (readonly [Api<never, unknown>, readonly (1 | 2)[]])[] = [
  [FindCoordinator as Api<never, unknown>, versions],
  [InitProducerId as Api<never, unknown>, versions],
  [AddPartitionsToTxn as Api<never, unknown>, [1]],
  [Produce as Api<never, unknown>, versions],
  [EndTxn as Api<never, unknown>, versions],
];

describe("transactions whose requests meet trouble", () => {
  for (const [api, spoken] of requests) {
    for (const version of spoken) {
      for (const { what, treatment } of troubles) {
        // Before KIP-890 an end that comes twice ends the next transaction as well: what that is for.
        if (
          (api as unknown) === EndTxn &&
          version === 1 &&
          typeof treatment === "object" &&
          "echoMs" in treatment
        )
          continue;
        it(`are each committed once, in order, when ${api.name} of version ${version} ${what}`, async (test) => {
          const { run, broker, door, producer, seen } = await aWorld(test, version);
          const tp = producer({ inFlightMax: 5 });
          let number = 0;
          let troubled = 0;
          door.on(api, () => {
            // The first, and every third from then on.
            if (number++ % 3 !== 0) return "pass";
            troubled++;
            return treatment;
          });
          const wanted: string[] = [];
          for (let index = 0; index < 12; index++) {
            const isAborted = index % 4 === 3;
            await run(
              tp
                .transaction(async (tx) => {
                  for (const part of ["a", "b"]) {
                    void tx.send({ topic: "t", partition: 0, value: `${index}${part}` });
                    void tx.send({ topic: "t", partition: 1, value: "other" });
                  }
                  await sleep(broker, 10);
                  if (isAborted) throw new Error("no");
                })
                .catch((cause: unknown) => {
                  if (!isAborted || !(cause instanceof TransactionAbortedError)) throw cause;
                }),
            );
            if (!isAborted) wanted.push(`${index}a`, `${index}b`);
          }
          await runFor(broker, 5_000);
          assert(troubled > 0);
          const committed = await seen();
          assert.deepEqual(
            committed.filter((value) => value !== "other"),
            wanted,
          );
          assert.equal(committed.filter((value) => value === "other").length, wanted.length);
        });
      }
    }
  }

  it("are not ended by an attempt to end the one before that comes late, also before KIP-890 (P19)", async (test) => {
    for (const version of versions) {
      const { run, broker, door, producer, seen } = await aWorld(test, version);
      const tp = producer();
      await run(tp.connect());
      let number = 0;
      door.on(EndTxn, () => {
        if (number++ > 0) return "pass";
        // The answer is lost, and a copy of the request comes late.
        queueMicrotask(() => door.cutAll());
        return { echoMs: 400 };
      });
      await run(one(tp, "a"));
      assert.equal(number, 2);
      await run(
        assert.rejects(
          tp.transaction(async (tx) => {
            await tx.send({ topic: "t", partition: 0, value: "never" });
            await sleep(broker, 1_000);
            throw new Error("no");
          }),
          TransactionAbortedError,
        ),
      );
      assert.deepEqual(await seen(), ["a"]);
    }
  });

  it("are committed although the broker loses power between any two of their requests", async (test) => {
    for (let at = 1; at <= 12; at++) {
      const { run, broker, door, producer, seen } = await aWorld(test);
      const tp = producer();
      let number = 0;
      const strike = (): Treatment => {
        if (++number === at) {
          broker.crash();
          void broker.bootLater();
        }
        return "pass";
      };
      for (const api of [InitProducerId, Produce, EndTxn]) door.on(api as Api<unknown, unknown>, strike);
      for (const value of ["a", "b", "c", "d"]) {
        // What the broker aborted by itself is done again.
        await run(
          one(tp, value).catch((cause: unknown) => {
            assert(cause instanceof TransactionAbortedError && cause.retriable, String(cause));
            return one(tp, value);
          }),
        );
      }
      assert.deepEqual(await seen(), ["a", "b", "c", "d"], `struck at request ${at}`);
    }
  });
});

describe("what is said of a transaction that is not known to be committed", () => {
  const refusing =
    (errorCode: ErrorCode, which: (request: EndTxnRequest) => boolean = () => true) =>
    (request: EndTxnRequest): Treatment =>
      which(request)
        ? { answer: { throttleTimeMs: 0, errorCode, producerId: -1, producerEpoch: -1 } }
        : "pass";

  it("unknown, when the answer to the commit does not come in time; the next one begins when it is decided", async (test) => {
    for (const [treatment, isCommitted] of [
      ["cut-after", true],
      ["cut-before", false],
    ] as const) {
      const { run, door, producer, seen } = await aWorld(test);
      const tp = producer({ deliveryTimeoutMs: 5_000 });
      await run(tp.connect());
      let isLost = true;
      door.on(EndTxn, () => (isLost ? treatment : "pass"));
      await run(
        assert.rejects(one(tp, "a"), (error: unknown) => {
          assert(error instanceof TransactionUnknownError, String(error));
          assert.equal(error.outcome, "unknown");
          assert.match(error.message, /^The transaction of "a" may or may not have been committed: /);
          return true;
        }),
      );
      isLost = false;
      await run(one(tp, "b"));
      assert.deepEqual(await seen(), isCommitted ? ["a", "b"] : ["b"]);
    }
  });

  it("unknown, when what the broker says does not tell; aborted, when it refused the only attempt", async (test) => {
    const stories = [
      { answers: ["UNKNOWN_SERVER_ERROR"], outcome: "unknown" },
      { answers: ["lost", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"], outcome: "unknown" },
      { answers: ["lost", "INVALID_TXN_STATE"], outcome: "aborted" },
      { answers: ["COORDINATOR_NOT_AVAILABLE", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"], outcome: "unknown" },
      { answers: ["NOT_COORDINATOR", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"], outcome: "aborted" },
      { answers: ["TRANSACTIONAL_ID_AUTHORIZATION_FAILED"], outcome: "aborted" },
    ] as const;
    for (const { answers, outcome } of stories) {
      const { run, door, producer, seen } = await aWorld(test);
      const tp = producer();
      await run(tp.connect());
      let number = 0;
      door.on(EndTxn, (request) => {
        const answer = answers[number++];
        if (answer === undefined) return "pass";
        return answer === "lost" ? "cut-before" : refusing(ErrorCode[answer])(request);
      });
      const told = await run(
        one(tp, "a").then(
          () => "committed",
          (cause: unknown) => (cause as TransactionAbortedError).outcome,
        ),
      );
      assert.equal(told, outcome, answers.join());
      await run(one(tp, "b"));
      assert.deepEqual(await seen(), ["b"]);
    }
  });

  it("fenced, when another producer has come with its name; what it had begun is aborted, and it never begins again", async (test) => {
    for (const version of versions) {
      const { run, producer, seen } = await aWorld(test, version);
      const [older, newer] = [producer(), producer()];
      await run(one(older, "a"));
      await run(
        assert.rejects(
          older.transaction(async (tx) => {
            await tx.send({ topic: "t", partition: 0, value: "zombie" });
            await newer.connect();
          }),
          (error: unknown) => {
            assert(error instanceof ProducerFencedError, String(error));
            assert.equal(error.outcome, "aborted");
            return true;
          },
        ),
      );
      await run(one(newer, "b"));
      await run(assert.rejects(one(older, "zombie"), ProducerFencedError));
      await run(one(newer, "c"));
      assert.deepEqual(await seen(), ["a", "b", "c"]);
    }
  });

  it("fenced and unknown, when another producer came after an attempt whose answer was lost", async (test) => {
    const { run, broker, door, producer, seen } = await aWorld(test);
    const older = producer();
    // Not by the door.
    const newer = new Process(test, broker).client.producer({ transactionalId: "a" });
    await run(older.connect());
    let isFirst = true;
    let taken: Promise<void> | undefined;
    door.on(EndTxn, () => {
      if (!isFirst) return "pass";
      isFirst = false;
      return "cut-after";
    });
    door.on(FindCoordinator, () => {
      // Asked for again after the loss.
      if (!isFirst) taken ??= newer.connect();
      return isFirst || taken === undefined ? "pass" : { heldMs: 500 };
    });
    await run(
      assert.rejects(one(older, "a"), (error: unknown) => {
        assert(error instanceof ProducerFencedError, String(error));
        assert.equal(error.outcome, "unknown");
        return true;
      }),
    );
    assert.deepEqual(await seen(), ["a"]);
  });

  it("aborted, when it took longer than its time-out; the producer goes on", async (test) => {
    for (const version of versions) {
      const { run, broker, producer, seen } = await aWorld(test, version);
      const tp = producer({ transactionTimeoutMs: 1_000 });
      await run(
        assert.rejects(
          tp.transaction(async (tx) => {
            await tx.send({ topic: "t", partition: 0, value: "late" });
            await sleep(broker, 60_000);
          }),
          (error: unknown) => {
            assert(error instanceof TransactionAbortedError, String(error));
            assert.equal(error.retriable, true);
            return true;
          },
        ),
      );
      await run(one(tp, "b"));
      assert.deepEqual(await seen(), ["b"]);
    }
  });

  it("aborted, and aborted at the broker, when the broker says that it can only be aborted (KIP-1050)", async (test) => {
    const { run, door, producer, seen } = await aWorld(test);
    const tp = producer();
    let isFirst = true;
    const ends: boolean[] = [];
    door.on(EndTxn, (request) => {
      ends.push(request.committed);
      const treatment = isFirst ? refusing(ErrorCode.TRANSACTION_ABORTABLE)(request) : "pass";
      isFirst = false;
      return treatment;
    });
    await run(
      assert.rejects(one(tp, "a"), (error: unknown) => {
        assert(error instanceof TransactionAbortedError && error.retriable, String(error));
        return true;
      }),
    );
    assert.deepEqual(ends, [true, false]);
    await run(one(tp, "b"));
    assert.deepEqual(await seen(), ["b"]);
  });

  it("what the broker refused for good, before anything was begun", async (test) => {
    const { run, producer } = await aWorld(test);
    await run(
      assert.rejects(
        one(producer({ transactionTimeoutMs: 2_000_000_000 }), "a"),
        /Registering the producer "a" was refused: .*INVALID_TRANSACTION_TIMEOUT/,
      ),
    );
  });
});
