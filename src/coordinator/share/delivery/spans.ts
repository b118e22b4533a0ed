/** A set of offsets, as spans that neither touch nor overlap, in order. */
interface Span {
  readonly first: number;
  readonly last: number;
}

/** So many spans are added before they are put in order. */
const unorderedMax = 256;

export class Spans {
  /** In order up to `#ordered`; what was added since lies behind. */
  #spans: Span[] = [];
  #ordered = 0;

  get isEmpty(): boolean {
    return this.#spans.length === 0;
  }

  add(first: number, last: number): void {
    const newest = this.#spans.at(-1);
    if (newest !== undefined && first >= newest.first && first <= newest.last + 1)
      this.#spans[this.#spans.length - 1] = { first: newest.first, last: Math.max(last, newest.last) };
    else this.#spans.push({ first, last });
    if (this.#spans.length - this.#ordered > unorderedMax + this.#ordered) this.#order();
  }

  /** All of them; it is empty then. */
  take(): readonly Span[] {
    this.#order();
    const taken = this.#spans;
    this.#spans = [];
    this.#ordered = 0;
    return taken;
  }

  #order(): void {
    const ordered: Span[] = [];
    for (const span of this.#spans.sort((a, b) => a.first - b.first)) {
      const before = ordered.at(-1);
      if (before !== undefined && span.first <= before.last + 1)
        ordered[ordered.length - 1] = { first: before.first, last: Math.max(before.last, span.last) };
      else ordered.push(span);
    }
    this.#spans = ordered;
    this.#ordered = ordered.length;
  }
}
