/** AddOffsetsToTxn: the partition in which a group's offsets lie becomes part of a transaction (KIP-98). */
import { coordinatorCode } from "../../coordinator/transaction/codes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { AddOffsetsToTxn } from "../../protocol/messages/add-offsets-to-txn.ts";
import { offsetsTopic } from "../groups.ts";
import { handle } from "../handle.ts";

export const addOffsetsToTxn = handle(AddOffsetsToTxn, {
  // The groups' topic is made on first use, which this is. Where the group itself is does not matter.
  prepare(request, { services: { groups, transactions } }) {
    const making = groups.whenMade();
    const enter = (): Promise<void> | undefined => transactions.enter(request.transactionalId);
    return (making === undefined ? enter() : making.then(enter))?.then(() => request);
  },
  async decide({ transactionalId, groupId, producerId, producerEpoch }, { services, apiVersion }) {
    const { groups, topics, transactions } = services;
    if (groupId === "") return { throttleTimeMs: 0, errorCode: ErrorCode.INVALID_GROUP_ID };
    // It could not be made a moment ago.
    if (topics.idOf(offsetsTopic) === undefined) {
      return { throttleTimeMs: 0, errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE };
    }
    const place = { topic: offsetsTopic, partition: groups.partitionOf(groupId) };
    const errorCode = await transactions.run<ErrorCode>(
      transactionalId,
      (shard, turn) => shard.addPartitions(turn, { transactionalId, producerId, producerEpoch }, [place]),
      (elsewhere) => elsewhere,
    );
    return { throttleTimeMs: 0, errorCode: coordinatorCode("AddOffsetsToTxn", apiVersion, errorCode) };
  },
});
