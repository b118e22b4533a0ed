/** A terminal for tests: what was written can be looked at, input is given, Ctrl-C is pressed. */
import { type Output, ReaderLeftError, type Terminal } from "./terminal.ts";

export class TestTerminal implements Terminal {
  readonly stdout = new TestOutput();
  readonly stderr = new TestOutput();
  readonly env: { [name: string]: string | undefined } = {};
  readonly stdin: Terminal["stdin"];
  readonly #interrupts = new Set<() => void>();
  #stopInput: () => void = () => {};

  /** Chunks of input; after the last the input stays open when `keepsOpen`. */
  constructor(input: readonly (string | Uint8Array)[] = [], keepsOpen = false) {
    const stopped = new Promise<void>((resolve) => {
      this.#stopInput = resolve;
    });
    this.stdin = {
      isTTY: false,
      stop: () => this.#stopInput(),
      async *[Symbol.asyncIterator]() {
        for (const chunk of input) yield Buffer.from(chunk);
        if (keepsOpen) await stopped;
      },
    };
  }

  onInterrupt(run: () => void): () => void {
    this.#interrupts.add(run);
    return () => this.#interrupts.delete(run);
  }

  interrupt(): void {
    for (const run of this.#interrupts) run();
  }
}

export class TestOutput implements Output {
  isTTY = false;
  columns: number | undefined = undefined;
  readonly #chunks: Buffer[] = [];
  readonly #listeners = new Set<() => void>();
  /** Nobody reads from here on. */
  isGone = false;
  /** A write waits for this: a pipe that is full. */
  full: Promise<void> = Promise.resolve();

  async write(bytes: string | Uint8Array): Promise<void> {
    await this.full;
    if (this.isGone) throw new ReaderLeftError("Nobody reads the output any more.");
    this.#chunks.push(Buffer.from(bytes));
    for (const listener of this.#listeners) listener();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return this.bytes.toString();
  }

  /** Resolves when what was written matches. */
  async until(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.text)) {
      await new Promise<void>((resolve) => {
        this.#listeners.add(resolve);
      });
    }
  }
}
