/** Serves small read-only answers over HTTP: what to answer is decided in `http/`. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { listenRefusal } from "./tcp.ts";

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}
/** By path. */
export type Routes = { readonly [path: string]: () => HttpAnswer | Promise<HttpAnswer> };

export interface HttpServer {
  readonly host: string;
  readonly port: number;
  /** Answers what was asked and closes. */
  close(): Promise<void>;
}

const connectionsMax = 100;
const requestMs = 10_000;

/** Rejects with `RefusedError`. */
export async function serveHttp(
  address: { readonly host: string; readonly port: number },
  routes: Routes,
): Promise<HttpServer> {
  // As a module its every export would be read, which loads a client that nobody here uses.
  const { createServer } = process.getBuiltinModule("node:http");
  const server = createServer(
    { requestTimeout: requestMs, headersTimeout: requestMs },
    (request, response) => {
      void answer(routes, request, response);
    },
  );
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => void listenRefusal(address, cause).then(reject));
    server.listen(address.port, address.host, resolve);
  });
  server.removeAllListeners("error");
  server.on("error", () => {});
  const { address: host, port } = server.address() as { address: string; port: number };
  return {
    host,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
        setTimeout(() => server.closeAllConnections(), 1_000).unref();
      }),
  };
}

async function answer(routes: Routes, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const found = await decide(routes, request);
  response.writeHead(found.status, {
    "content-type": found.contentType,
    "content-length": Buffer.byteLength(found.text),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...(found.status === 405 ? { allow: "GET, HEAD" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : found.text);
}

const plain = (status: number, text: string): HttpAnswer => ({
  status,
  contentType: "text/plain; charset=utf-8",
  text,
});

async function decide(routes: Routes, request: IncomingMessage): Promise<HttpAnswer> {
  if (request.method !== "GET" && request.method !== "HEAD")
    return plain(405, "Only GET is answered here.\n");
  const path = (request.url ?? "/").split("?")[0] ?? "/";
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (route === undefined) return plain(404, `There is ${Object.keys(routes).join(" and ")}.\n`);
  try {
    return await route();
  } catch (error) {
    return plain(500, `${error instanceof Error ? error.message : String(error)}\n`);
  }
}
