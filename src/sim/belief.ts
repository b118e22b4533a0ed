/**
 * What the only one who changes a thing knows of it: every state in which it can be. An answer, and every look
 * at it, leaves fewer; a change whose answer was lost leaves more.
 */
import { ErrorCode } from "../protocol/errors.ts";

/** What a change does to a state: the answers that are right for it, and the state after NONE. */
export type Change<State> = (state: State) => { readonly codes: readonly ErrorCode[]; readonly next: State };

export class Belief<State> {
  #states: readonly State[];

  constructor(first: State) {
    this.#states = [first];
  }

  get states(): readonly State[] {
    return this.#states;
  }
  /** Null: it is in doubt. */
  get only(): State | null {
    return this.#states.length === 1 ? (this.#states[0] as State) : null;
  }

  /** Nobody knows whether it happened. */
  doubt(change: Change<State>): void {
    const changed = this.#states.map(change).filter(({ codes }) => codes.includes(ErrorCode.NONE));
    this.#states = distinct([...this.#states, ...changed.map(({ next }) => next)]);
  }

  /** False: no state allows this answer, and nothing is learned. */
  answered(change: Change<State>, code: ErrorCode): boolean {
    const right = this.#states.filter((state) => change(state).codes.includes(code));
    if (right.length === 0) return false;
    this.#states = distinct(code === ErrorCode.NONE ? right.map((state) => change(state).next) : right);
    return true;
  }

  /** False: it can be in none of the states that look so. */
  seen(looksSo: (state: State) => boolean): boolean {
    const right = this.#states.filter(looksSo);
    if (right.length === 0) return false;
    this.#states = right;
    return true;
  }
}

/** States are plain data. */
function distinct<State>(states: readonly State[]): readonly State[] {
  return [...new Map(states.map((state) => [JSON.stringify(state), state])).values()];
}
