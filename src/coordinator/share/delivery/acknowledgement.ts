/** What a member says of records that it acquired, as it stands in a request (KIP-932, KIP-1222). */
export const AcknowledgeType = { gap: 0, accept: 1, release: 2, reject: 3, renew: 4 } as const;
export type AcknowledgeType = (typeof AcknowledgeType)[keyof typeof AcknowledgeType];

export interface AcknowledgeBatch {
  readonly first: number;
  readonly last: number;
  /** One for all of them, or one for each record. */
  readonly types: readonly number[];
}

/** In order, without overlap, and with types that there are. */
export function isWellFormed(batches: readonly AcknowledgeBatch[]): boolean {
  let before = -1;
  for (const { first, last, types } of batches) {
    if (first <= before || last < first) return false;
    if (types.length !== 1 && types.length !== last - first + 1) return false;
    if (!types.every(isType)) return false;
    before = last;
  }
  return true;
}

/** Neighbours of which the same is said. */
export function* runsOf({
  first,
  last,
  types,
}: AcknowledgeBatch): Generator<{ first: number; last: number; type: AcknowledgeType }, void> {
  let begin = 0;
  for (let at = 1; at <= types.length; at++) {
    if (types[at] === types[begin]) continue;
    const end = types.length === 1 ? last : first + at - 1;
    yield { first: first + begin, last: end, type: types[begin] as AcknowledgeType };
    begin = at;
  }
}

function isType(type: number): type is AcknowledgeType {
  return Number.isInteger(type) && type >= AcknowledgeType.gap && type <= AcknowledgeType.renew;
}
