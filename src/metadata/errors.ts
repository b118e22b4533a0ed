/** The journal's faults. Every one of them is fatal to the process unless it says otherwise. */
import { HoldfastError } from "../base/errors.ts";

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

/** The journal stopped after an error and takes no more commands; `cause` says why. The process must exit. */
export class JournalClosedError extends HoldfastError {
  readonly code = "JOURNAL_CLOSED";
  override readonly name = "JournalClosedError";
}
