/** The calls of a simulated disk, and how one can fail. */
export type DiskOperation =
  | "open"
  | "list"
  | "makeDirectory"
  | "removeDirectory"
  | "rename"
  | "link"
  | "remove"
  | "syncDirectory"
  | "size"
  | "read"
  | "write"
  | "writeSynced"
  | "sync"
  | "truncate";

export interface DiskCall {
  /** Counts from 0 over the life of the disk. */
  readonly number: number;
  readonly operation: DiskOperation;
  readonly path: string;
}

export type DiskFault =
  /**
   * The call rejects. Of a write the first `written` bytes (default 0) are there and pending. A failed
   * sync drops what it should have written: still visible, never to become durable.
   */
  | { readonly kind: "error"; readonly errno: string; readonly written?: number }
  /** The call did everything and rejects all the same. */
  | { readonly kind: "error-after"; readonly errno: string }
  /** A sync that answers well and does nothing. */
  | { readonly kind: "lie" };
