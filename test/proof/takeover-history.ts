/**
 * What clients of a small cluster were told, and the judgement on it (F4, F5, F10): what was acknowledged or
 * shown once is there at the end, at its offset and nowhere else, and the offsets before it are there, too;
 * nobody was ever shown anything else; an answer about the end of a partition does not go behind what was
 * acknowledged or shown before it was asked for.
 */
export class Violation extends Error {
  override readonly name = "Violation";
}

interface Told {
  /** By offset: the value that was acknowledged or shown there, and by whom first. */
  readonly values: Map<number, { readonly value: string; readonly by: string }>;
  /** Exclusive end of what was acknowledged or shown, with the high watermarks that were told. */
  end: number;
}

export class TakeOverHistory {
  readonly #partitions = new Map<number, Told>();
  acknowledged = 0;
  shown = 0;
  ends = 0;

  #of(partition: number): Told {
    let told = this.#partitions.get(partition);
    if (told === undefined) this.#partitions.set(partition, (told = { values: new Map(), end: 0 }));
    return told;
  }

  acknowledge(partition: number, offset: number, value: string, by: string): void {
    this.acknowledged++;
    this.#tell(partition, offset, value, `acknowledged by ${by}`);
  }

  show(partition: number, offset: number, value: string, by: string): void {
    this.shown++;
    this.#tell(partition, offset, value, `shown by ${by}`);
  }

  #tell(partition: number, offset: number, value: string, by: string): void {
    const told = this.#of(partition);
    const known = told.values.get(offset);
    if (known !== undefined && known.value !== value) {
      throw new Violation(
        `two histories of partition ${partition}: offset ${offset} is ${value}, ${by}, and was ${known.value}, ${known.by}`,
      );
    }
    if (known === undefined) told.values.set(offset, { value, by });
    told.end = Math.max(told.end, offset + 1);
  }

  /** What an answer about the end has to reach when it is asked for now. */
  endKnown(partition: number): number {
    return this.#of(partition).end;
  }

  /** `atLeast`: what `endKnown` said when the request came. */
  answerEnd(partition: number, end: number, atLeast: number, by: string): void {
    this.ends++;
    if (end < atLeast) {
      throw new Violation(
        `stale answer: ${by} says that partition ${partition} ends at ${end}, and ${atLeast} was known before it was asked`,
      );
    }
    const told = this.#of(partition);
    told.end = Math.max(told.end, end);
  }

  /** Compares with everything that a reader gets at the end, by offset. */
  judge(partition: number, found: ReadonlyMap<number, string>, end: number): void {
    const told = this.#of(partition);
    for (const [offset, { value, by }] of told.values) {
      const there = found.get(offset);
      if (there === value) continue;
      const what = there === undefined ? "is lost" : `is ${there} now`;
      throw new Violation(
        `partition ${partition}: ${value} at offset ${offset}, ${by}, ${what} (the log ends at ${end})`,
      );
    }
    if (end < told.end) {
      throw new Violation(`partition ${partition} ends at ${end}, and its end was told as ${told.end}`);
    }
    const offsets = new Map<string, number>();
    for (const [offset, value] of found) {
      const other = offsets.get(value);
      if (other !== undefined)
        throw new Violation(`partition ${partition}: ${value} is at ${other} and at ${offset}`);
      offsets.set(value, offset);
    }
    for (let offset = 0; offset < end; offset++) {
      if (!found.has(offset))
        throw new Violation(`partition ${partition}: nothing is at offset ${offset} of ${end}`);
    }
  }
}
