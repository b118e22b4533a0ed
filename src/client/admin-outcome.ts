/** What becomes of a request about several things of which a broker may take some and refuse others. */
import { HoldfastError } from "../base/errors.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { BrokerRefusedError } from "./errors.ts";

/** Some of what was asked for was refused; the rest was done, and `done` names it. */
export class PartlyRefusedError extends HoldfastError {
  readonly code = "PARTLY_REFUSED";
  override readonly name = "PartlyRefusedError";
  readonly refused: readonly BrokerRefusedError[];
  readonly done: readonly string[];

  constructor(refused: readonly BrokerRefusedError[], done: readonly string[]) {
    const rest = done.length === 0 ? "Nothing was done." : `Done: ${done.join(", ")}.`;
    super(`${refused.map(({ message }) => message).join(" ")} ${rest}`, { cause: refused[0] });
    this.refused = refused;
    this.done = done;
  }
}

/**
 * Throws `BrokerRefusedError` when the only result is a refusal, `PartlyRefusedError` when one of several
 * is. `doing` begins each sentence, as "Creating topic"; a result without a name is of the one thing asked.
 */
export function refuseFailures(
  doing: string,
  results: readonly {
    readonly name: string;
    readonly errorCode: number;
    readonly errorMessage?: string | null;
  }[],
): void {
  const refused: BrokerRefusedError[] = [];
  const done: string[] = [];
  for (const { name, errorCode, errorMessage } of results) {
    if (errorCode === ErrorCode.NONE) done.push(name);
    else refused.push(new BrokerRefusedError(`${doing} "${name}"`, errorCode, errorMessage ?? null));
  }
  const [first] = refused;
  if (first === undefined) return;
  if (results.length === 1) throw first;
  throw new PartlyRefusedError(refused, done);
}
