/**
 * Which topics a pattern names (KIP-848). Patterns come from strangers: the engine takes time that grows
 * with pattern and name, never exponentially, and a pattern whose program is so large that looking at all
 * topics would hold the loop is refused. An internal topic is among them only where the pattern spells out
 * its name: a group that meant "everything" would else read its own commits, and commit that it did, without
 * end. The engine is loaded when the first pattern comes.
 */
import { createRequire } from "node:module";
import type { TopicView } from "../topic-view.ts";

interface Program {
  matches(text: string): boolean;
  /** Instructions. */
  programSize(): number;
}
interface Engine {
  readonly RE2JS: { compile(pattern: string): Program };
}

interface Compiled {
  readonly program: Program;
  /** Of the topics, when the names were looked through. */
  version: number;
  names: readonly string[];
}

const load = createRequire(import.meta.url);
const patternLengthMax = 1_024;
/** Instructions times characters of all names: a few tenths of a second at most. */
const stepsMax = 50_000_000;
const patternsMax = 1_000;
const patternsOf = new WeakMap<TopicView, Map<string, Compiled>>();

/** Why a pattern cannot be used; null: it can. */
export function refusePattern(pattern: string, topics: TopicView): string | null {
  if (pattern.length > patternLengthMax) return `it is longer than ${patternLengthMax} characters`;
  try {
    const { program } = compile(pattern, topics);
    let length = 0;
    for (const name of topics.names()) length += name.length;
    return length * program.programSize() > stepsMax ? "it is too costly for so many topics" : null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Names of the topics that the whole of which matches; none for a pattern that cannot be used. */
export function matchTopics(pattern: string, topics: TopicView): readonly string[] {
  if (refusePattern(pattern, topics) !== null) return [];
  const found = compile(pattern, topics);
  if (found.version !== topics.version) {
    const spelled = pattern.replaceAll("\\", "");
    found.names = Array.from(topics.names()).filter(
      (name) => found.program.matches(name) && (!topics.isInternal(name) || spelled.includes(name)),
    );
    found.version = topics.version;
  }
  return found.names;
}

function compile(pattern: string, topics: TopicView): Compiled {
  let compiled = patternsOf.get(topics);
  if (compiled === undefined) patternsOf.set(topics, (compiled = new Map()));
  let found = compiled.get(pattern);
  if (found === undefined) {
    const { RE2JS } = load("re2js") as Engine;
    found = { program: RE2JS.compile(pattern), version: -1, names: [] };
    if (compiled.size >= patternsMax) compiled.clear();
    compiled.set(pattern, found);
  }
  return found;
}
