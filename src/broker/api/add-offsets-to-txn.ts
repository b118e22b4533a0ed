/** AddOffsetsToTxn: the partition in which a group's offsets lie becomes part of a transaction (KIP-98). */
import { coordinatorCode } from "../../coordinator/transaction/codes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { AddOffsetsToTxn } from "../../protocol/messages/add-offsets-to-txn.ts";
import { offsetsTopic } from "../groups.ts";
import { handle } from "../handle.ts";

export const addOffsetsToTxn = handle(AddOffsetsToTxn, {
  // The groups' topic is made on first use, which this is.
  prepare(request, { services }) {
    const entering = services.groups.whenMade();
    if (entering === undefined) return services.transactions.enter()?.then(() => request);
    return entering.then(() => services.transactions.enter()).then(() => request);
  },
  async decide({ transactionalId, groupId, producerId, producerEpoch }, { services, apiVersion }) {
    const { groups, transactions } = services;
    if (groupId === "") return { throttleTimeMs: 0, errorCode: ErrorCode.INVALID_GROUP_ID };
    const place = { topic: offsetsTopic, partition: groups.partitionOf(groupId) };
    const errorCode = await transactions.run(transactionalId, (shard, turn) =>
      shard.addPartitions(turn, { transactionalId, producerId, producerEpoch }, [place]),
    );
    return { throttleTimeMs: 0, errorCode: coordinatorCode("AddOffsetsToTxn", apiVersion, errorCode) };
  },
});
