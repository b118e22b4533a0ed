/**
 * Assertions state what must be true if our own code is right. When one fails, memory can no longer be
 * trusted with someone's records: the process stops. They stay on in production.
 */
export class AssertionFailure extends Error {
  override readonly name = "AssertionFailure";
}

/** `sentence` says what should have been true. */
export function assert(condition: boolean, sentence: string): asserts condition {
  if (!condition) throw new AssertionFailure(sentence);
}

/** For the default branch of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`no case for ${JSON.stringify(value)}`);
}
