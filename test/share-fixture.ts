/** Members of a share group that speak the protocol by hand, for tests of what the broker answers them. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { partitionIndex, offset, type TopicId } from "../src/base/ids.ts";
import { IncrementalAlterConfigs } from "../src/protocol/messages/incremental-alter-configs.ts";
import { ErrorCode } from "../src/protocol/errors.ts";
import {
  ShareAcknowledge,
  type ShareAcknowledgeRequest,
} from "../src/protocol/messages/share-acknowledge.ts";
import {
  ShareFetch,
  type ShareFetchRequest,
  type ShareFetchResponse,
} from "../src/protocol/messages/share-fetch.ts";
import { batchesIn } from "../src/record/batch.ts";
import { recordsIn } from "../src/record/record.ts";
import type { Broker } from "../src/broker/broker.ts";
import type { Api } from "../src/protocol/api.ts";
import type { SimClient } from "../src/sim/client.ts";
import type { Scheduler } from "../src/sim/scheduler.ts";
import { aBroker, type SimulatedBroker } from "./simulated-broker.ts";

export const Ack = { gap: 0, accept: 1, release: 2, reject: 3, renew: 4 } as const;
export type Ack = (typeof Ack)[keyof typeof Ack];

/** One broker of a simulated world: alone, or of a cluster. */
export interface AskedBroker {
  readonly broker: Broker;
  readonly scheduler: Scheduler;
  connect(): SimClient;
  ask<Req, Res>(api: Api<Req, Res>, request: Req): Promise<Res>;
}

/** One record as its member has it. */
export interface Given {
  readonly offset: number;
  readonly deliveryCount: number;
  readonly value: string;
}

/** Of one partition. */
export interface Fetched {
  readonly errorCode: number;
  readonly acknowledgeErrorCode: number;
  readonly records: readonly Given[];
}

export interface FetchOptions {
  readonly recordsMax?: number;
  readonly waitMs?: number;
  readonly bytesMin?: number;
  readonly bytesMax?: number;
  readonly batchSize?: number;
  readonly strict?: boolean;
  readonly renews?: boolean;
  /** What is said along the way: first, last, type. */
  readonly words?: readonly (readonly [number, number, Ack])[];
}

/** The state that the group's coordinator would begin before it assigns the partition. */
export async function beginShare(
  broker: AskedBroker,
  groupId: string,
  topic: string,
  partition = 0,
): Promise<void> {
  const { sharePersister } = broker.broker.services;
  const key = { groupId, topicId: topicIdOf(broker, topic), partition: partitionIndex(partition) };
  const told = await broker.scheduler.runUntil(
    sharePersister.initialize(key, { stateEpoch: 0, startOffset: offset(-1) }),
  );
  assert.equal(told.kind, "told", JSON.stringify(told));
}

/** A topic "t" of which group "g" reads everything from its beginning. */
export async function aQueue(
  context: Pick<TestContext, "after">,
  values: readonly string[] = [],
  configs: Record<string, string> = {},
): Promise<SimulatedBroker> {
  const broker = await aBroker(context);
  await broker.createTopic("t");
  await configureShare(broker, "g", { "share.auto.offset.reset": "earliest", ...configs });
  await beginShare(broker, "g", "t");
  if (values.length > 0) await broker.write("t", values);
  return broker;
}

const groupResourceType = 32;

export async function configureShare(
  broker: AskedBroker,
  groupId: string,
  configs: Record<string, string>,
): Promise<void> {
  const answer = await broker.ask(IncrementalAlterConfigs, {
    resources: [
      {
        resourceType: groupResourceType,
        resourceName: groupId,
        configs: Object.entries(configs).map(([name, value]) => ({ name, value, configOperation: 0 })),
      },
    ],
    validateOnly: false,
  });
  assert.equal(answer.responses[0]?.errorCode, 0, answer.responses[0]?.errorMessage ?? "");
}

/** Time passes. */
export const pass = (broker: AskedBroker, ms: number): Promise<void> =>
  broker.scheduler.runUntil(new Promise<void>((resolve) => broker.scheduler.schedule(ms, () => resolve())));

export function topicIdOf(broker: AskedBroker, topic: string): TopicId {
  const id = broker.broker.services.topics.idOf(topic);
  assert.ok(id !== undefined, topic);
  return id;
}

export class ShareMember {
  readonly #broker: AskedBroker;
  readonly #groupId: string;
  readonly memberId: string;
  readonly #topicId: TopicId;
  readonly #partition: number;
  #client: SimClient;
  epoch = 0;

  constructor(
    broker: AskedBroker,
    memberId: string,
    topic: string,
    { groupId = "g", partition = 0 }: { readonly groupId?: string; readonly partition?: number } = {},
  ) {
    this.#broker = broker;
    this.#groupId = groupId;
    this.memberId = memberId;
    this.#topicId = topicIdOf(broker, topic);
    this.#partition = partition;
    this.#client = broker.connect();
  }

  /** The connection breaks. */
  vanish(): void {
    this.#client.close();
  }
  /** Over a new connection, with a new session. */
  comeBack(): void {
    this.#client = this.#broker.connect();
    this.epoch = 0;
  }

  /** As it is sent; the world has to be run. */
  send(options: FetchOptions = {}, epoch = this.epoch): Promise<ShareFetchResponse> {
    const {
      recordsMax = 500,
      waitMs = 0,
      bytesMin = 1,
      batchSize = 500,
      strict = false,
      renews = false,
    } = options;
    const { bytesMax = 1 << 20, words = [] } = options;
    const isClosing = epoch === -1;
    const acknowledgementBatches = batchesOf(words);
    const partitions =
      isClosing && words.length === 0
        ? []
        : [{ partitionIndex: partitionIndex(this.#partition), acknowledgementBatches }];
    const request: ShareFetchRequest = {
      groupId: this.#groupId,
      memberId: this.memberId,
      shareSessionEpoch: epoch,
      maxWaitMs: renews ? 0 : waitMs,
      minBytes: renews ? 0 : bytesMin,
      maxBytes: renews ? 0 : bytesMax,
      maxRecords: renews ? 0 : recordsMax,
      batchSize,
      shareAcquireMode: strict ? 1 : 0,
      isRenewAck: renews,
      topics: partitions.length === 0 ? [] : [{ topicId: this.#topicId, partitions }],
      forgottenTopicsData: [],
    };
    this.epoch = isClosing ? 0 : epoch + 1;
    return this.#client.call(ShareFetch, 2, request);
  }

  async fetch(options: FetchOptions = {}, epoch = this.epoch): Promise<Fetched> {
    return this.read(await this.#broker.scheduler.runUntil(this.send(options, epoch)));
  }

  /** What the answer has of its partition. Fails on an error of the whole answer. */
  read(response: ShareFetchResponse): Fetched {
    assert.equal(response.errorCode, ErrorCode.NONE, response.errorMessage ?? "");
    const partition = response.responses[0]?.partitions[0];
    if (partition === undefined) return { errorCode: 0, acknowledgeErrorCode: 0, records: [] };
    const all = (partition.records ?? []).flatMap((chunk) =>
      [...batchesIn(chunk)].flatMap((batch) => [...recordsIn(batch, 1 << 20)]),
    );
    const records = partition.acquiredRecords.flatMap(({ firstOffset, lastOffset, deliveryCount }) =>
      all
        .filter((record) => record.offset >= firstOffset && record.offset <= lastOffset)
        .map((record) => ({
          offset: Number(record.offset),
          deliveryCount,
          value: Buffer.from(record.value ?? []).toString(),
        })),
    );
    const { errorCode, acknowledgeErrorCode } = partition;
    return { errorCode, acknowledgeErrorCode, records };
  }

  /** The error of its partition, or of the whole answer. */
  async acknowledge(first: number, last: number, type: Ack, epoch = this.epoch): Promise<number> {
    const response = await this.#broker.scheduler.runUntil(this.sendWord(first, last, type, epoch));
    return response.errorCode === 0
      ? (response.responses[0]?.partitions[0]?.errorCode ?? 0)
      : response.errorCode;
  }

  sendWord(first: number, last: number, type: Ack, epoch = this.epoch) {
    const partitions = [
      {
        partitionIndex: partitionIndex(this.#partition),
        acknowledgementBatches: batchesOf([[first, last, type]]),
      },
    ];
    const request: ShareAcknowledgeRequest = {
      groupId: this.#groupId,
      memberId: this.memberId,
      shareSessionEpoch: epoch,
      isRenewAck: type === Ack.renew,
      topics: [{ topicId: this.#topicId, partitions }],
    };
    this.epoch = epoch === -1 ? 0 : epoch + 1;
    return this.#client.call(ShareAcknowledge, 2, request);
  }
}

const batchesOf = (words: readonly (readonly [number, number, Ack])[]) =>
  words.map(([first, last, type]) => ({
    firstOffset: offset(first),
    lastOffset: offset(last),
    acknowledgeTypes: [type],
  }));

/** Offsets, for short. */
export const offsetsIn = ({ records }: Fetched): readonly number[] => records.map((each) => each.offset);
