/** Markers that another broker is asked to write. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { brokerEpoch, partitionIndex, producerEpoch, producerId } from "../../base/ids.ts";
import type { PreparedTransaction } from "../../coordinator/transaction/shard.ts";
import type { TransactionPartition } from "../../coordinator/transaction/transaction.ts";
import type { Api } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type {
  WriteTxnMarkersRequest,
  WriteTxnMarkersResponse,
} from "../../protocol/messages/write-txn-markers.ts";
import { silentLogger } from "../../sim/silence.ts";
import { PeerError } from "../cluster/errors.ts";
import { RemoteMarkers } from "./remote-markers.ts";

const owner = brokerEpoch(7);

interface Asked {
  readonly request: WriteTxnMarkersRequest;
  readonly answer: (response: WriteTxnMarkersResponse) => void;
  readonly fail: (cause: Error) => void;
}

/** The other broker, whose answers the test gives. */
function aPeer() {
  const asked: Asked[] = [];
  const call = <Req, Res>(_to: unknown, _api: Api<Req, Res>, request: Req): Promise<Res> =>
    new Promise((resolve, reject) => {
      asked.push({
        request: request as WriteTxnMarkersRequest,
        answer: resolve as (response: WriteTxnMarkersResponse) => void,
        fail: reject,
      });
    });
  return { asked, markers: new RemoteMarkers({ call }, silentLogger) };
}

const transaction = (id: number): PreparedTransaction => ({
  transactionalId: `t${id}`,
  producerId: producerId(id),
  producerEpoch: producerEpoch(1),
  coordinatorEpoch: 3,
  outcome: "commit",
  transactionVersion: 2,
  topics: [],
});

const places = (topic: string, count: number): readonly TransactionPartition[] =>
  Array.from({ length: count }, (_, at) => ({ topic, partition: partitionIndex(at) }));

/** The same code everywhere, or by partition. */
function answered(
  { markers }: WriteTxnMarkersRequest,
  code: (partition: number) => ErrorCode,
): WriteTxnMarkersResponse {
  return {
    markers: markers.map(({ producerId: id, topics }) => ({
      producerId: id,
      topics: topics.map(({ name, partitionIndexes }) => ({
        name,
        partitions: partitionIndexes.map((each) => ({ partitionIndex: each, errorCode: code(each) })),
      })),
    })),
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("markers for another broker", () => {
  test("that are wished for in one step leave in one request, and each says who ends and how", async () => {
    const { asked, markers } = aPeer();
    const left = [1, 2, 3].map((id) => markers.write(owner, transaction(id), places("a", 2)));
    await turn();
    assert.equal(asked.length, 1);
    const [first] = asked as [Asked];
    assert.deepEqual(
      first.request.markers.map((each) => each.producerId),
      [1, 2, 3],
    );
    assert.deepEqual(first.request.markers[0], {
      producerId: 1,
      producerEpoch: 1,
      transactionResult: true,
      topics: [{ name: "a", partitionIndexes: [0, 1] }],
      coordinatorEpoch: 3,
      transactionVersion: 2,
    });
    first.answer(answered(first.request, () => ErrorCode.NONE));
    assert.deepEqual(await Promise.all(left), [[], [], []]);
  });

  test("are left where their owner does not say that they are written, and over where nothing is open", async () => {
    const { asked, markers } = aPeer();
    const codes = [
      ErrorCode.NONE,
      ErrorCode.NOT_LEADER_OR_FOLLOWER,
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      ErrorCode.INVALID_PRODUCER_EPOCH,
      ErrorCode.TRANSACTION_COORDINATOR_FENCED,
      ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
    ];
    const left = markers.write(owner, transaction(1), places("a", codes.length));
    await turn();
    const [first] = asked as [Asked];
    first.answer(answered(first.request, (at) => codes[at] as ErrorCode));
    assert.deepEqual(
      (await left).map(({ partition }) => partition),
      [1, 2, 5],
    );
  });

  test("are all left when the answer is lost, or is about something else", async () => {
    const { asked, markers } = aPeer();
    const lost = markers.write(owner, transaction(1), places("a", 2));
    await turn();
    asked[0]?.fail(new PeerError("it is lost", { trouble: "lost", sent: true }));
    assert.equal((await lost).length, 2);
    const other = markers.write(owner, transaction(1), places("a", 2));
    await turn();
    asked[1]?.answer({ markers: [] });
    assert.equal((await other).length, 2);
  });

  test("wait where much is under way, and then leave together", async () => {
    const { asked, markers } = aPeer();
    const left: Promise<readonly TransactionPartition[]>[] = [];
    for (let id = 0; id < 20; id++) {
      left.push(markers.write(owner, transaction(id), places("a", 1)));
      await turn();
    }
    assert.equal(asked.length, 4);
    for (const { request, answer } of asked.slice()) answer(answered(request, () => ErrorCode.NONE));
    await turn();
    assert.equal(asked.length, 5);
    assert.equal(asked[4]?.request.markers.length, 16);
    const last = asked[4] as Asked;
    last.answer(answered(last.request, () => ErrorCode.NONE));
    for (const each of await Promise.all(left)) assert.deepEqual(each, []);
  });

  test("of many transactions are no endless request", async () => {
    const { asked, markers } = aPeer();
    for (let id = 0; id < 3; id++) void markers.write(owner, transaction(id), places("a", 600));
    await turn();
    assert.deepEqual(
      asked.map(({ request }) => request.markers.length),
      [1, 1, 1],
    );
  });
});
