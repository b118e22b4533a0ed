/** Only programs on this machine can connect to such a host. Listening anywhere else without authentication has to be asked for by name. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
