/**
 * A port for a broker that keeps it while it is down. The kernel's own choice for port 0 would not do: it
 * lies where outgoing connections get their ports too, so that in the time between crash and restart
 * another socket could take it, or a client that tries to reconnect could meet itself there.
 */
import { RefusedError } from "../base/errors.ts";

/** Below what Linux, macOS and Windows give to outgoing connections, above what services are known to use. */
const first = 20_000;
const end = 32_768;

export function portToTry(): number {
  return first + Math.floor(Math.random() * (end - first));
}

export function isPortTaken(error: unknown): boolean {
  return error instanceof RefusedError && (error.cause as { readonly code?: unknown })?.code === "EADDRINUSE";
}
