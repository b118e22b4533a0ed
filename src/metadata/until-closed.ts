/**
 * The store as a journal sees it: once the journal is closed no call begins, so that whoever asks again
 * until there is an answer comes to an end as well. A call that is under way stays so.
 */
import type { ObjectStore } from "../base/ports.ts";
import type { JournalClosedError } from "./errors.ts";

export function untilClosed(store: ObjectStore, closed: () => JournalClosedError | null): ObjectStore {
  const gate = <T>(call: () => Promise<T>): Promise<T> => {
    const cause = closed();
    return cause === null ? call() : Promise.reject(cause);
  };
  return {
    get: (...each) => gate(() => store.get(...each)),
    putIfAbsent: (...each) => gate(() => store.putIfAbsent(...each)),
    list: (...each) => gate(() => store.list(...each)),
    delete: (...each) => gate(() => store.delete(...each)),
  };
}
