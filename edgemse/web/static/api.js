// Asking the collector. What has not changed is not sent again: an answer has an entity tag.

const KEPT_MAX = 60;
const ANSWER_MS_MAX = 130_000;
const TOKEN = "edgemse-token";
const held = new Map();

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function token() {
  return sessionStorage.getItem(TOKEN) ?? "";
}

export function keepToken(given) {
  held.clear();
  if (given) sessionStorage.setItem(TOKEN, given);
  else sessionStorage.removeItem(TOKEN);
}

/** The address of a question; what is empty is left out. A list gives a parameter many times. */
export function address(question, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== "" && each !== null && each !== undefined) query.append(name, each);
    }
  }
  return `/api/v1/${question}?${query}`;
}

/**
 * One look at the fleet: `ask` answers from it, `changed` says whether anything is not as before,
 * `at` is the collector's time of the last answer.
 */
export class Look {
  constructor(signal, every) {
    this.signal = signal;
    this.age = Math.floor(every / 1000);
    this.changed = false;
    this.at = null;
  }

  async ask(question, parameters) {
    const url = address(question, { format: "page", ...parameters });
    const before = held.get(url);
    // An answer that others have asked for since we last did will do.
    const headers = { "Cache-Control": `max-age=${this.age}` };
    if (before) headers["If-None-Match"] = before.tag;
    if (token()) headers.Authorization = `Bearer ${token()}`;
    const signal = AbortSignal.any([this.signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
    const response = await fetch(url, { headers, signal, cache: "no-store", redirect: "error" });
    this.at = Date.parse(response.headers.get("date"));
    if (response.status === 304 && before) return before.answer;
    const found = await response.json();
    if (!response.ok) throw new Refused(response.status, found.error);
    this.changed = true;
    held.delete(url);
    held.set(url, { tag: response.headers.get("etag"), answer: found });
    if (held.size > KEPT_MAX) held.delete(held.keys().next().value);
    return found;
  }
}
