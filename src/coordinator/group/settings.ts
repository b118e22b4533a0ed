/** What groups obey; the broker's settings of the same names. */
export interface GroupSettings {
  /** `group.min.session.timeout.ms` and `group.max.session.timeout.ms`. */
  readonly sessionTimeoutMinMs: number;
  readonly sessionTimeoutMaxMs: number;
  /** `group.initial.rebalance.delay.ms`: how long an empty group waits for more members before its first generation. */
  readonly initialRebalanceDelayMs: number;
  /** `group.max.size`. */
  readonly membersMax: number;
  /** `group.consumer.max.size`. */
  readonly consumersMax: number;
  /** `consumer.session.timeout.ms` of one group, else `group.consumer.session.timeout.ms`. */
  consumerSessionTimeoutMs(groupId: string): number;
  /** `group.share.max.size`. */
  readonly shareMembersMax: number;
  /** `share.session.timeout.ms` of one group, else `group.share.session.timeout.ms`. */
  shareSessionTimeoutMs(groupId: string): number;
  /** `group.consumer.migration.policy`: whether members may move from the classic protocol to KIP-848, and back. */
  readonly mayUpgrade: boolean;
  readonly mayDowngrade: boolean;
  /** Whether so many bytes more may be kept in memory: what is there always stays, and only what is new is refused. */
  mayGrow(bytes: number): boolean;
  /** `offset.metadata.max.bytes`. */
  readonly metadataBytesMax: number;
  /** `offsets.retention.minutes`, in ms. */
  readonly offsetsRetentionMs: number;
}
