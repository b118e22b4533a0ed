/** `/health`: would a record that came now be acknowledged? 200 when yes, 503 with the reason when not. */
export function health(
  broker: { health(): { readonly canAcknowledge: boolean; readonly reason: string | null } },
  /** What keeps the store from taking a record just now. */
  trouble: string | null = null,
): { readonly status: number; readonly contentType: string; readonly text: string } {
  const own = broker.health();
  const canAcknowledge = own.canAcknowledge && trouble === null;
  const reason = own.reason ?? trouble;
  return {
    status: canAcknowledge ? 200 : 503,
    contentType: "application/json",
    text: `${JSON.stringify({ canAcknowledge, reason })}\n`,
  };
}
