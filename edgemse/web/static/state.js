// The address is the whole state: what is shown can be shared, and back works.

export const SPANS = { "24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days", all: "all" };

export function read(search) {
  const state = { view: "overview" };
  for (const [name, value] of new URLSearchParams(search)) state[name] = value;
  return state;
}

/** The address of a view; parameters that are empty are left out. */
export function link(state) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) if (value) query.set(name, value);
  return `/?${query}`;
}

/** What a question is told of the span: nothing for "all". */
export function bounds(state, otherwise) {
  const since = state.since || otherwise;
  return { since: since === "all" ? "" : since, until: state.until };
}
