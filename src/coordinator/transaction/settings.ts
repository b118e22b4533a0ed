/** What transactions obey; the broker's settings of the same names. */
export interface TransactionSettings {
  /** `transaction.max.timeout.ms`. */
  readonly timeoutMaxMs: number;
  /** `transactional.id.expiration.ms`. */
  readonly idExpirationMs: number;
  /** Whether so many bytes more may be kept in memory: what is there goes on to its end, and only what is new is refused. */
  mayGrow(bytes: number): boolean;
}
