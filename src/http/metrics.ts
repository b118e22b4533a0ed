/** `/metrics`: everything that the rooms measure, as Prometheus reads it. */
export async function metrics(meter: {
  expose(): Promise<{ readonly contentType: string; readonly text: string }>;
}): Promise<{ readonly status: number; readonly contentType: string; readonly text: string }> {
  return { status: 200, ...(await meter.expose()) };
}
