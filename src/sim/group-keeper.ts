/**
 * Commits offsets for a group without members, deletes some, deletes the group, and looks at it in every way:
 * what was answered must be so.
 */
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { DeleteGroups } from "../protocol/messages/delete-groups.ts";
import { DescribeGroups } from "../protocol/messages/describe-groups.ts";
import { ListGroups } from "../protocol/messages/list-groups.ts";
import { OffsetCommit } from "../protocol/messages/offset-commit.ts";
import { OffsetDelete } from "../protocol/messages/offset-delete.ts";
import { OffsetFetch } from "../protocol/messages/offset-fetch.ts";
import type { Actor } from "./actor.ts";
import { Belief, type Change } from "./belief.ts";
import type { Caller } from "./client.ts";
import type { NewTopic } from "./create-topic.ts";
import { Visitor } from "./visitor.ts";

/** What is committed, by partition; −1: nothing. */
type Offsets = readonly number[];

const isEmpty = (offsets: Offsets): boolean => offsets.every((each) => each < 0);

export class GroupKeeper extends Visitor {
  readonly #group: string;
  readonly #topic: string;
  readonly #offsets: Belief<Offsets>;

  /** `isAlone`: one broker knows all groups. */
  constructor(actor: Actor, group: string, topic: NewTopic, isAlone = true) {
    super(actor);
    this.#group = group;
    this.#topic = topic.name;
    this.#offsets = new Belief<Offsets>(Array.from({ length: topic.partitions }, () => -1));
    this.comesFor(OffsetCommit, (client) => this.#commit(client));
    this.comesFor(OffsetCommit, (client) => this.#commit(client));
    this.comesFor(OffsetFetch, (client) => this.#fetch(client));
    this.comesFor(OffsetDelete, (client) => this.#deleteOne(client));
    this.comesFor(DeleteGroups, (client) => this.#deleteAll(client));
    this.comesFor(DescribeGroups, (client) => this.#describe(client));
    if (isAlone) this.comesFor(ListGroups, (client) => this.#list(client));
  }

  get #partition(): number {
    return this.actor.random.below(this.#offsets.states[0]?.length ?? 1);
  }

  #commit(client: Caller): Promise<void> {
    const partition = this.#partition;
    const committed = this.actor.random.below(1_000_000);
    return this.change(client, {
      api: OffsetCommit,
      version: 9,
      request: {
        groupId: this.#group,
        generationIdOrMemberEpoch: -1,
        memberId: "",
        groupInstanceId: null,
        retentionTimeMs: -1,
        topics: [
          {
            name: this.#topic,
            topicId: NO_TOPIC_ID,
            partitions: [
              {
                partitionIndex: partitionIndex(partition),
                committedOffset: offset(committed),
                committedLeaderEpoch: leaderEpoch(-1),
                committedMetadata: "m",
              },
            ],
          },
        ],
      },
      belief: this.#offsets,
      change: (offsets) => ({ codes: [ErrorCode.NONE], next: offsets.with(partition, committed) }),
      codeOf: ({ topics }) => topics[0]?.partitions[0]?.errorCode,
    });
  }

  #deleteOne(client: Caller): Promise<void> {
    const partition = this.#partition;
    return this.change(client, {
      api: OffsetDelete,
      version: 0,
      request: {
        groupId: this.#group,
        topics: [{ name: this.#topic, partitions: [{ partitionIndex: partitionIndex(partition) }] }],
      },
      belief: this.#offsets,
      change: gone((offsets) => offsets.with(partition, -1)),
      codeOf: ({ errorCode, topics }) =>
        errorCode === ErrorCode.NONE ? topics[0]?.partitions[0]?.errorCode : errorCode,
    });
  }

  #deleteAll(client: Caller): Promise<void> {
    return this.change(client, {
      api: DeleteGroups,
      version: 2,
      request: { groupsNames: [this.#group] },
      belief: this.#offsets,
      change: gone((offsets) => offsets.map(() => -1)),
      codeOf: ({ results }) => results[0]?.errorCode,
    });
  }

  async #fetch(client: Caller): Promise<void> {
    const { groups } = await this.ask(client, OffsetFetch, 9, {
      groupId: "",
      topics: [],
      groups: [{ groupId: this.#group, memberId: null, memberEpoch: -1, topics: null }],
      requireStable: this.actor.random.chance(0.5),
    });
    const group = groups[0];
    if (!this.isFine(group?.errorCode, "OffsetFetch")) return;
    const found = new Map(
      (group?.topics ?? [])
        .filter(({ name }) => name === this.#topic)
        .flatMap(({ partitions }) => partitions.map((each) => [each.partitionIndex, each.committedOffset])),
    );
    this.see(
      this.#offsets,
      (offsets) => offsets.every((each, partition) => (found.get(partitionIndex(partition)) ?? -1) === each),
      `committed by ${this.#group} is ${JSON.stringify([...found])}`,
    );
  }

  async #describe(client: Caller): Promise<void> {
    const { groups } = await this.ask(client, DescribeGroups, 5, {
      groups: [this.#group],
      includeAuthorizedOperations: false,
    });
    const group = groups[0];
    if (!this.isFine(group?.errorCode, "DescribeGroups")) return;
    this.#seeState(group?.groupState ?? "");
  }

  async #list(client: Caller): Promise<void> {
    const answer = await this.ask(client, ListGroups, 4, { statesFilter: [], typesFilter: [] });
    if (!this.isFine(answer.errorCode, "ListGroups")) return;
    const listed = answer.groups.find(({ groupId }) => groupId === this.#group);
    this.#seeState(listed?.groupState ?? "Dead");
  }

  /** A group that has committed something is there; one that forgot everything is there for a while. */
  #seeState(state: string): void {
    const what = `${this.#group} is ${state}`;
    this.see(this.#offsets, (offsets) => state === "Empty" || (state === "Dead" && isEmpty(offsets)), what);
  }
}

/** A group that has nothing committed may be gone itself. */
const gone =
  (next: (offsets: Offsets) => Offsets): Change<Offsets> =>
  (offsets) => ({
    codes: isEmpty(offsets) ? [ErrorCode.NONE, ErrorCode.GROUP_ID_NOT_FOUND] : [ErrorCode.NONE],
    next: next(offsets),
  });
