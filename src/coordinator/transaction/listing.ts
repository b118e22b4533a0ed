/**
 * Which transactional ids ListTransactions tells: by state, by producer, by how long a transaction has been
 * open, and by a pattern of the id. Patterns come from strangers: the engine takes time that grows with
 * pattern and id, never exponentially, and one that would hold the loop over so many ids is refused. The
 * engine is loaded when the first pattern comes.
 */
import { createRequire } from "node:module";
import type { ProducerId } from "../../base/ids.ts";
import { type Transaction, type TransactionState, transactionStates } from "./transaction.ts";

export interface ListRequest {
  readonly stateFilters: readonly string[];
  readonly producerIdFilters: readonly ProducerId[];
  /** Ms; below 0: any. */
  readonly durationFilter: number;
  /** Null or empty: any. */
  readonly transactionalIdPattern: string | null;
}

export interface Listed {
  readonly transactionalId: string;
  readonly producerId: ProducerId;
  readonly transactionState: TransactionState;
}

export interface ListFilter {
  /** Names that are no states. */
  readonly unknownStates: readonly string[];
  /** `wallMs`: now. */
  accepts(transaction: Transaction, wallMs: number): boolean;
}

interface Program {
  matches(text: string): boolean;
  /** Instructions. */
  programSize(): number;
}
interface Engine {
  readonly RE2JS: { compile(pattern: string): Program };
}

const load = createRequire(import.meta.url);
const patternLengthMax = 1_024;
/** Instructions times characters of all ids: a few tenths of a second at most. */
const stepsMax = 50_000_000;

/** Kafka knows these beside; no id ever lies in one of them. */
const transientStates = new Set(["Dead", "PrepareEpochFence"]);

/** Or why the pattern cannot be used. `idCharacters`: of all ids together. */
export function listFilter(request: ListRequest, idCharacters: number): ListFilter | string {
  const { stateFilters, durationFilter, transactionalIdPattern: pattern } = request;
  const states = new Set<string>(stateFilters);
  const producers = new Set<ProducerId>(request.producerIdFilters);
  const program = pattern === null || pattern === "" ? null : compile(pattern, idCharacters);
  if (typeof program === "string") return program;
  return {
    unknownStates: [...states].filter((each) => !isState(each) && !transientStates.has(each)),
    accepts({ id, state, value }, wallMs) {
      if (states.size > 0 && !states.has(state)) return false;
      if (producers.size > 0 && !producers.has(value.producerId)) return false;
      if (durationFilter >= 0 && wallMs - value.startedMs <= durationFilter) return false;
      return program === null || program.matches(id);
    },
  };
}

const isState = (name: string): boolean => (transactionStates as readonly string[]).includes(name);

function compile(pattern: string, idCharacters: number): Program | string {
  if (pattern.length > patternLengthMax) return `it is longer than ${patternLengthMax} characters`;
  const { RE2JS } = load("re2js") as Engine;
  try {
    const program = RE2JS.compile(pattern);
    const isCostly = idCharacters * program.programSize() > stepsMax;
    return isCostly ? "it is too costly for so many transactional ids" : program;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
