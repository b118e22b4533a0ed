/**
 * The members of one group by id, and what is known of all of them together: about what they take in memory, and
 * which topics somebody wants. Both are counted as members change, for they are asked for with every record.
 */
export interface Member {
  readonly id: string;
  readonly about: { readonly subscribedTopicNames: readonly string[] };
}

/** As it was when it was put there: a member may change in place until it is put there again. */
interface Entry<M> {
  readonly member: M;
  readonly bytes: number;
  readonly names: readonly string[];
}

export class Members<M extends Member> implements Iterable<M> {
  readonly #weigh: (member: M) => number;
  readonly #entries = new Map<string, Entry<M>>();
  /** How many want each topic. */
  readonly #wanting = new Map<string, number>();
  #bytes = 0;

  constructor(weigh: (member: M) => number) {
    this.#weigh = weigh;
  }

  get size(): number {
    return this.#entries.size;
  }
  /** About what all of them take in memory. */
  get bytes(): number {
    return this.#bytes;
  }
  /** Topics that somebody names, each once, also those that are not there. */
  get wantedNames(): Iterable<string> {
    return this.#wanting.keys();
  }
  *[Symbol.iterator](): Generator<M, void, void> {
    for (const { member } of this.#entries.values()) yield member;
  }
  get(id: string): M | undefined {
    return this.#entries.get(id)?.member;
  }

  /** In place of who had its id; to be called again when it changed. */
  set(member: M): void {
    const former = this.#entries.get(member.id);
    const next = { member, bytes: this.#weigh(member), names: member.about.subscribedTopicNames };
    this.#entries.set(member.id, next);
    this.#exchange(former, next);
  }

  delete(id: string): void {
    const former = this.#entries.get(id);
    this.#entries.delete(id);
    this.#exchange(former, undefined);
  }

  #exchange(former: Entry<M> | undefined, next: Entry<M> | undefined): void {
    this.#bytes += (next?.bytes ?? 0) - (former?.bytes ?? 0);
    if (former?.names === next?.names) return;
    for (const name of next?.names ?? []) this.#count(name, 1);
    for (const name of former?.names ?? []) this.#count(name, -1);
  }

  #count(name: string, more: 1 | -1): void {
    const count = (this.#wanting.get(name) ?? 0) + more;
    if (count === 0) this.#wanting.delete(name);
    else this.#wanting.set(name, count);
  }
}
