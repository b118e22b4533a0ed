/** Ctrl-C during a bench: what was measured so far is told. */
import type { Terminal } from "./terminal.ts";

export class BenchInterrupt {
  readonly release: () => void;
  readonly #listeners: (() => void)[] = [];
  happened = false;

  constructor(terminal: Terminal) {
    this.release = terminal.onInterrupt(() => {
      this.happened = true;
      for (const listener of this.#listeners.splice(0)) listener();
    });
  }

  onHappen(run: () => void): void {
    this.#listeners.push(run);
  }
}
