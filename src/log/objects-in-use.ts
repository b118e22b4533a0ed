/**
 * Objects that somebody reads at this moment. Garbage collection passes over them: an object goes only
 * after the last who reads it is done, however long a read takes.
 */
import { assert } from "../base/assert.ts";

export class ObjectsInUse {
  /** Key → how many hold it. */
  readonly #holders = new Map<string, number>();

  get size(): number {
    return this.#holders.size;
  }

  has(key: string): boolean {
    return this.#holders.has(key);
  }

  /** Returns the end of the use, to be called once. */
  hold(key: string): () => void {
    this.#holders.set(key, (this.#holders.get(key) ?? 0) + 1);
    let isHeld = true;
    return () => {
      assert(isHeld, "a use of an object ends once");
      isHeld = false;
      const left = (this.#holders.get(key) as number) - 1;
      if (left === 0) this.#holders.delete(key);
      else this.#holders.set(key, left);
    };
  }

  /** Holds the object while `use` runs. */
  async during<T>(key: string, use: () => Promise<T>): Promise<T> {
    const release = this.hold(key);
    try {
      return await use();
    } finally {
      release();
    }
  }
}
