/**
 * Sorting in linear time: whole numbers from 0 to 2⁵³ by their digits of eight bits, lowest first. Stable,
 * so of equal keys the order stays.
 */
const digitSize = 256;

/** A new array of `items`, ascending by `key`. Each pass over them is counted in `tally.work`. */
export function sortedBy(
  items: Int32Array,
  key: (item: number) => number,
  tally: { work: number },
): Int32Array {
  let from = Int32Array.from(items);
  if (items.length < 2) return from;
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (const item of items) {
    least = Math.min(least, key(item));
    most = Math.max(most, key(item));
  }
  let to = new Int32Array(items.length);
  const ends = new Int32Array(digitSize);
  for (let unit = 1; unit <= most - least; unit *= digitSize) {
    const digit = (item: number): number => Math.floor((key(item) - least) / unit) % digitSize;
    ends.fill(0);
    for (const item of from) (ends[digit(item)] as number)++;
    for (let at = 1; at < digitSize; at++) (ends[at] as number) += ends[at - 1] as number;
    for (let at = from.length - 1; at >= 0; at--) {
      const item = from[at] as number;
      to[--(ends[digit(item)] as number)] = item;
    }
    tally.work += from.length;
    [from, to] = [to, from];
  }
  return from;
}
