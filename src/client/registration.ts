/**
 * The producer id under which a producer's batches go (KIP-98): asked of any broker when it is first
 * needed, kept until it is given up, asked for once at a time. It never asks again by itself; who is told
 * of a failure decides when to.
 */
import { NO_PRODUCER, NO_PRODUCER_EPOCH } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { Produce } from "../protocol/messages/produce.ts";
import type { Cluster } from "./cluster.ts";
import { BrokerRefusedError } from "./errors.ts";
import type { Identity, Lane } from "./lane.ts";

/** Under what a producer's batches go. */
export interface Standing {
  /** Null: there is none; `request` it. */
  readonly identity: Identity | null;
  /** Newer versions of Produce would mean something else. */
  readonly produceVersionMax: number;
  /** Whether the lane's partition may be written to; if not, `request` asks for that, too. */
  admits(lane: Lane): boolean;
  /** Asks for what is lacking, unless that is under way; `onAnswer` of whoever made this is told. */
  request(): void;
  /** Sequences cannot go on under this identity. */
  giveUp(): void;
}

/** Told of each answer; null: what was asked for is there now. */
export type OnStanding = (failure: RegistrationFailure | null) => void;

/** Why there is no id. `isFinal`: asking again will not help. */
export interface RegistrationFailure {
  readonly cause: Error;
  readonly isFinal: boolean;
}

export class Registration implements Standing {
  readonly #cluster: Cluster;
  readonly #onAnswer: OnStanding;
  #identity: Identity | null = null;
  #isAsking = false;

  constructor(cluster: Cluster, onAnswer: OnStanding) {
    this.#cluster = cluster;
    this.#onAnswer = onAnswer;
  }

  get identity(): Identity | null {
    return this.#identity;
  }

  get produceVersionMax(): number {
    return Produce.versions[1];
  }

  admits(): boolean {
    return true;
  }

  giveUp(): void {
    this.#identity = null;
  }

  request(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    void this.#ask().then((failure) => {
      this.#isAsking = false;
      this.#onAnswer(failure);
    });
  }

  async #ask(): Promise<RegistrationFailure | null> {
    try {
      const { errorCode, producerId, producerEpoch } = await this.#cluster.ask(InitProducerId, {
        transactionalId: null,
        transactionTimeoutMs: this.#cluster.settings.requestTimeoutMs,
        producerId: NO_PRODUCER,
        producerEpoch: NO_PRODUCER_EPOCH,
      });
      if (errorCode !== ErrorCode.NONE) {
        const cause = new BrokerRefusedError("Asking for a producer id", errorCode);
        return { cause, isFinal: !errorFacts(errorCode).retriable };
      }
      this.#identity = { id: producerId, epoch: producerEpoch };
      return null;
    } catch (cause) {
      // No broker for a while; the batches that wait for the id have deadlines of their own.
      return { cause: cause as Error, isFinal: false };
    }
  }
}
