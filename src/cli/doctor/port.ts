/** Whether a broker could listen on an address, and if not, who does. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";
import { type Address, formatAddress, isLoopback } from "../address.ts";
import type { Verdict } from "./verdict.ts";

export async function portVerdict(listen: Address): Promise<Verdict> {
  const about = "listen";
  const address = formatAddress(listen);
  const errno = await tryListen(listen);
  if (errno === null) {
    return isLoopback(listen.host)
      ? { status: "ok", about, text: `${address} is free; only programs on this machine can connect.` }
      : {
          status: "risk",
          about,
          text: `${address} is free, and reachable from other machines: there is no authentication, so a start asks for --insecure, and whoever connects may read, write and delete.`,
        };
  }
  if (errno === "EADDRINUSE") {
    const taker = listenerOn(listen.port);
    const who =
      taker === null
        ? "another program (of another user, or in another container)"
        : `process ${taker.pid} (${taker.command})`;
    return {
      status: "wrong",
      about,
      text: `${address} is taken by ${who}: stop it, or give another port with --listen.`,
      facts: { ...taker },
    };
  }
  const why =
    errno === "EACCES"
      ? "may not be used by this user (ports below 1024 need rights)"
      : errno === "EADDRNOTAVAIL"
        ? "is no address of this machine"
        : `cannot be used (${errno})`;
  return { status: "wrong", about, text: `${address} ${why}: give another one with --listen.` };
}

/** Null: it can be listened on; else why not. */
function tryListen({ host, port }: Address): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

const listening = "0A";

/** By the kernel's tables, on Linux; null where they do not tell. */
function listenerOn(port: number): { readonly pid: number; readonly command: string } | null {
  try {
    const inodes = new Set<string>();
    for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
      for (const line of readFileSync(table, "utf8").split("\n").slice(1)) {
        const fields = line.trim().split(/\s+/);
        const [, local = "", , state] = fields;
        if (state === listening && Number.parseInt(local.split(":")[1] ?? "", 16) === port)
          inodes.add(fields[9] ?? "");
      }
    }
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      if (holdsSocket(pid, inodes)) {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
        return { pid: Number(pid), command: command.slice(0, 80) };
      }
    }
  } catch {
    // Not Linux, or not ours to see.
  }
  return null;
}

function holdsSocket(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      return inode !== undefined && inodes.has(inode);
    });
  } catch {
    // Another user's process, or one that has just ended.
    return false;
  }
}
