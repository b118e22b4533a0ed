/** Which of the names that exist were perhaps meant by one that does not: a slip of the finger, another case or separator. */

const suggestionsMax = 3;

/** Nearest first. */
export function similarNames(name: string, existing: Iterable<string>): readonly string[] {
  const wanted = plain(name);
  const distanceMax = name.length < 4 ? 1 : name.length < 8 ? 2 : 3;
  const found: { readonly name: string; readonly distance: number }[] = [];
  for (const candidate of existing) {
    const distance = plain(candidate) === wanted ? 0 : editDistance(name, candidate, distanceMax);
    if (distance <= distanceMax) found.push({ name: candidate, distance });
  }
  found.sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1));
  return found.slice(0, suggestionsMax).map((each) => each.name);
}

const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_.]/g, "");

/** Insertions, deletions, replacements and swaps of neighbours that turn one into the other; more than `max` counts as max + 1. */
export function editDistance(a: string, b: string, max: number): number {
  if (Math.abs(a.length - b.length) > max) return max + 1;
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(
        (previous[j] as number) + 1,
        (row[j - 1] as number) + 1,
        (previous[j - 1] as number) + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (before[j - 2] as number) + 1);
      }
      row.push(least);
    }
    if (Math.min(...row) > max) return max + 1;
    before = previous;
    previous = row;
  }
  return previous[b.length] as number;
}
