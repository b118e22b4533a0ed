/** Rows as aligned columns. Columns whose cells are all numbers, also with a unit, stand to the right. */
import { textWidth } from "./terminal.ts";

export type Cell = string | number;

export function formatTable(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const all = [
    head,
    ...rows.map((row) => row.map((cell) => (typeof cell === "number" ? formatCount(cell) : cell))),
  ];
  const widths = head.map((_title, column) => Math.max(...all.map((row) => textWidth(row[column] ?? ""))));
  const right = head.map(
    (_title, column) => rows.length > 0 && rows.every((row) => isFigure(row[column] ?? "")),
  );
  return all
    .map((row) => {
      const cells = widths.map((width, column) => {
        const cell = row[column] ?? "";
        const blanks = " ".repeat(width - textWidth(cell));
        return right[column] === true ? blanks + cell : cell + blanks;
      });
      return `${cells.join("   ").trimEnd()}\n`;
    })
    .join("");
}

const isFigure = (cell: Cell): boolean =>
  typeof cell === "number" || cell === "–" || /^\d[\d.]* [KMGT]?i?B$/.test(cell);

/** `12,345`. */
export function formatCount(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

const units = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `1.9 ms`, `340 µs`, `2.4 s`. */
export function formatMs(ms: number): string {
  if (ms < 0.1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
}
