/**
 * PostgreSQL 17 from a jar of the Maven registry, for as long as a test needs it: its log is written for logical
 * decoding, it listens on loopback, and it ends with this process.
 */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finish, freePort, start, waitForPort } from "../../tools/processes.ts";
import { loopback, unpackPostgres } from "../../tools/toolbox.ts";

export interface Postgres {
  readonly port: number;
  readonly user: string;
  stop(): Promise<void>;
}

/** PostgreSQL refuses to run as root: it is nobody then. */
const nobody = 65_534;
const readyMs = 60_000;

export async function startPostgres(): Promise<Postgres> {
  const isRoot = process.getuid?.() === 0;
  // Not below the repository, where nobody may not be able to look.
  const directory = mkdtempSync(join(tmpdir(), "holdfast-postgres-"));
  chmodSync(directory, 0o755);
  const [programs, data] = [join(directory, "programs"), join(directory, "data")];
  await unpackPostgres(programs);
  mkdirSync(data, { mode: 0o700 });
  if (isRoot) chownSync(data, nobody, nobody);
  // Another user's process forgets whom it dies with: it has to be told again.
  const leash = ["--pdeathsig", "KILL"];
  const identity = isRoot ? [`--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"] : [];
  const launcher = (program: string): string[] => [...identity, ...leash, join(programs, "bin", program)];
  const user = "postgres";
  const initial = ["-D", data, "-U", user, "--auth=trust", "--no-locale", "--encoding=UTF8", "--no-sync"];
  await finish("setpriv", [...launcher("initdb"), ...initial], { cwd: directory, timeoutMs: readyMs });
  const port = await freePort();
  const settings = ["wal_level=logical", `listen_addresses=${loopback}`, `unix_socket_directories=${data}`];
  const server = start(
    "setpriv",
    [...launcher("postgres"), "-D", data, "-p", `${port}`, ...settings.flatMap((setting) => ["-c", setting])],
    { cwd: directory },
  );
  await waitForPort(port, server, readyMs);
  return {
    port,
    user,
    stop: async () => {
      // What SIGTERM asks for would wait for its clients.
      server.signal("SIGINT");
      await server.ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
