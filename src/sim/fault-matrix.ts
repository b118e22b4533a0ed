/** Of each kind of fault: how often it met a request of each API that had no answer yet. */
import type { AnyApi } from "../protocol/api.ts";

export const faultKinds = [
  "kill",
  "power cut",
  "disk error",
  "cut",
  "request lost",
  "answer lost",
  "death",
  "sleep",
] as const;
/**
 * disk error: one call of the disk fails. cut: the connection ends, on the way there, in the broker, or on the way
 * back. death: with the connection ends the client's process, and one that knows nothing takes its place. sleep:
 * nothing moves on the connection for up to three sessions.
 */
export type FaultKind = (typeof faultKinds)[number];

/** Kind, then the key of the API. */
export type FaultCells = { readonly [kind in FaultKind]: { readonly [apiKey: number]: number } };

export class FaultMatrix {
  /** Faults that happened, whatever they met. */
  count = 0;
  readonly #cells = new Map<FaultKind, Map<number, number>>(faultKinds.map((kind) => [kind, new Map()]));

  /** One fault, and the APIs of the requests that it met. */
  add(kind: FaultKind, apiKeys: Iterable<number>): void {
    this.count++;
    for (const apiKey of new Set(apiKeys)) this.#raise(kind, apiKey, 1);
  }

  addAll(count: number, cells: FaultCells): void {
    this.count += count;
    for (const kind of faultKinds) {
      for (const [apiKey, hits] of Object.entries(cells[kind])) this.#raise(kind, Number(apiKey), hits);
    }
  }

  get cells(): FaultCells {
    const row = (kind: FaultKind) => Object.fromEntries(this.#cells.get(kind) ?? []);
    return Object.fromEntries(faultKinds.map((kind) => [kind, row(kind)])) as unknown as FaultCells;
  }

  hits(kind: FaultKind, apiKey: number): number {
    return this.#cells.get(kind)?.get(apiKey) ?? 0;
  }

  /** The least cell over these APIs. */
  least(apis: readonly AnyApi[]): number {
    return Math.min(...apis.flatMap(({ key }) => faultKinds.map((kind) => this.hits(kind, key))));
  }

  /** A row for each API. */
  table(apis: readonly AnyApi[]): string {
    const head = ["requests in flight at", ...faultKinds];
    const rows = apis.map(({ key, name }) => [
      name,
      ...faultKinds.map((kind) => String(this.hits(kind, key))),
    ]);
    return [head, ...rows]
      .map(
        ([name, ...cells]) => (name as string).padEnd(24) + cells.map((cell) => cell.padStart(13)).join(""),
      )
      .join("\n");
  }

  #raise(kind: FaultKind, apiKey: number, by: number): void {
    const row = this.#cells.get(kind) as Map<number, number>;
    row.set(apiKey, (row.get(apiKey) ?? 0) + by);
  }
}
