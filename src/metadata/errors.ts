/** The journal's faults. Every one of them is fatal to the process unless it says otherwise. */
import { HoldfastError } from "../base/errors.ts";
import type { BrokerEpoch } from "../base/ids.ts";

/** A command that this software does not know. Skipping it would make a state that is not the cluster's (I14). */
export class UnknownCommandError extends HoldfastError {
  readonly code = "UNKNOWN_COMMAND";
  override readonly name = "UnknownCommandError";
  readonly type: number;
  readonly version: number;
  constructor(type: number, version: number) {
    super(
      `The metadata journal holds a command of type ${type}, version ${version}, which this version of Holdfast does not know. Start the version that wrote it, or a later one.`,
    );
    this.type = type;
    this.version = version;
  }
}

/** The epoch of this process ended in the journal: nothing of it counts any more, and it must stop. */
export class FencedError extends HoldfastError {
  readonly code = "FENCED";
  override readonly name = "FencedError";
  /** Who ended it, itself for one that goes; null: it was replaced while this process was silent, and nobody remembers. */
  readonly by: BrokerEpoch | null;
  constructor(epoch: BrokerEpoch, by: BrokerEpoch | null) {
    const who =
      by === epoch ? "itself" : by === null ? "another broker, a while ago" : `the broker of epoch ${by}`;
    super(
      `The broker of epoch ${epoch} was ended by ${who}: its partitions have other owners. Nothing it acknowledged is lost; start it again and it gets a share of them.`,
    );
    this.by = by;
  }
}

/** The journal stopped after an error and takes no more commands; `cause` says why. The process must exit. */
export class JournalClosedError extends HoldfastError {
  readonly code = "JOURNAL_CLOSED";
  override readonly name = "JournalClosedError";
}
