/**
 * Removes the WAL files of epochs that ended, as far as no partition depends on them any more. Only what
 * a decided command released is removed (P4); what is needed is a number that never goes back, so an old
 * view of the journal is safe here.
 */
import { type BrokerEpoch, brokerEpoch } from "../base/ids.ts";
import type { Disk, Logger } from "../base/ports.ts";
import { removeReleasedFiles } from "../log/wal-recovery.ts";
import type { Journal } from "../metadata/journal.ts";
import { neededFrom } from "./recovery.ts";

export class DeadWals {
  readonly #disk: Disk;
  readonly #journal: Journal;
  readonly #log: Logger;
  /** Epochs of which files may be left; null before the first look. */
  #left: Set<BrokerEpoch> | null = null;

  constructor(disk: Disk, journal: Journal, log: Logger) {
    this.#disk = disk;
    this.#journal = journal;
    this.#log = log;
  }

  async sweep(): Promise<void> {
    const { state, epoch: own } = this.#journal;
    const { clusterId } = state;
    this.#left ??= new Set(
      (await this.#disk.list("wal"))
        .filter((name) => /^\d+$/.test(name))
        .map((name) => brokerEpoch(Number(name))),
    );
    for (const epoch of Array.from(this.#left)) {
      const broker = state.brokers.get(epoch);
      // An epoch that the journal forgot is no evidence that its records are elsewhere (I11).
      if (epoch === own || broker?.status !== "sealed") continue;
      const needed = neededFrom(epoch, { journal: this.#journal });
      const removed = await removeReleasedFiles({ disk: this.#disk, clusterId, epoch }, needed);
      if (removed > 0) this.#log.debug("wal.files-removed", { epoch, files: removed });
      if (needed === null) this.#left.delete(epoch);
    }
  }
}
