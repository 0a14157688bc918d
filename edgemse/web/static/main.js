// The page: the address says which view, the view asks, and every so often asks again.

import { Look, Refused, keepToken, token } from "./api.js";
import { el } from "./dom.js";
import { completed, filters } from "./filters.js";
import { span, time } from "./format.js";
import { link, read } from "./state.js";
import * as compare from "./views/compare.js";
import * as device from "./views/device.js";
import * as drift from "./views/drift.js";
import * as oncall from "./views/oncall.js";
import * as overview from "./views/overview.js";
import * as variance from "./views/variance.js";

const VIEWS = { overview, oncall, device, compare, variance, drift };
const EVERY_MS = 10_000;
const EVERY_MS_MAX = 300_000;
const AWAY_MS_MAX = 60_000;
const COST = 20; // a view that takes a second is asked for every 20 seconds
const OLD_SECONDS = 3 * 3600; // three windows of an hour, as a device is silent after three

const main = document.getElementById("main");
const warning = document.getElementById("warning");
const said = document.getElementById("state");
let timer = 0;
let every = EVERY_MS;
let running = new AbortController();
let away = 0; // how often in a row the collector has not answered
let since = ""; // since when
let shown = null; // the query whose view stands on the page

function go(address, { replace = false } = {}) {
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  refresh({ moved: !replace });
}

function navigation(state) {
  const nav = document.getElementById("nav");
  nav.replaceChildren(...Object.entries(VIEWS).map(([key, view]) => el("a", {
    href: link({ view: key, model: state.model }),
    "aria-current": key === state.view ? "page" : null,
  }, view.title)));
}

async function refresh({ moved = false } = {}) {
  clearTimeout(timer);
  running.abort();
  const mine = running = new AbortController();
  const state = read(location.search);
  const view = VIEWS[state.view] ?? VIEWS.overview;
  if (!VIEWS[state.view]) state.view = "overview";
  document.title = `${view.title} - edgemse`;
  navigation(state);
  if (moved) main.setAttribute("aria-busy", "true");
  try {
    const began = performance.now();
    await draw(state, view, new Look(mine.signal, every), moved);
    if (mine.signal.aborted) return;
    away = 0;
    // What costs the collector long is asked for seldom.
    every = Math.min(Math.max(EVERY_MS, COST * (performance.now() - began)), EVERY_MS_MAX);
  } catch (error) {
    if (mine.signal.aborted) return;
    failed(error);
  }
  main.setAttribute("aria-busy", "false");
  if (!document.hidden) {
    timer = setTimeout(refresh, away ? Math.min(EVERY_MS * 2 ** away, AWAY_MS_MAX) : every);
  }
}

async function draw(given, view, look, moved) {
  const versions = await look.ask("versions", {});
  const state = completed(given, view, versions);
  const title = el("h1", {}, view.title);
  const parts = view.show(state, look, { versions }, go);
  if (moved) await appearing(title, parts, look);
  const children = await whole(parts);
  if (look.signal.aborted) return;
  fresh(versions, look.at);
  // What was filled in stands in the address as well: it shows everybody the same.
  if (link(state) !== link(given)) history.replaceState(null, "", link(state));
  const address = location.search;
  if (!look.changed && shown === address && !moved) return;
  if (shown !== address || look.changed || moved) {
    keepingFocus(() => filters(state, view, versions, (changes) =>
      go(link({ ...state, ...changes }))));
  }
  if (!moved) keepingFocus(() => main.replaceChildren(title, ...children));
  if (moved && shown !== null && shown !== address) {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  shown = address;
}

/** What a view gives is elements, lists of them, and promises of either. */
async function whole(parts) {
  const found = await parts;
  if (!Array.isArray(found)) return found ? [found] : [];
  return (await Promise.all(found.map(whole))).flat(Infinity);
}

/** Show each part of a view as soon as it is there: a long question holds up no short one. */
async function appearing(title, parts, look) {
  const waiting = () => el("p", { class: "quiet" }, "Loading ...");
  const slot = el("div", {}, waiting());
  main.replaceChildren(title, slot);
  const found = await parts;
  if (look.signal.aborted) return;
  const slots = found.map(() => el("div", { class: "part" }, waiting()));
  slot.replaceWith(...slots);
  await Promise.all(found.map(async (part, place) => {
    const children = await whole([part]);
    if (!look.signal.aborted) slots[place].replaceChildren(...children);
  }));
}

/** Replace elements, and give the focus back to the one of the same name. */
function keepingFocus(replace) {
  const before = document.activeElement;
  const key = before?.name || before?.getAttribute?.("aria-label") || before?.getAttribute?.("href");
  const scrolled = window.scrollY;
  const open = [...main.querySelectorAll("details[open] > summary")].map((each) => each.textContent);
  const typed = before?.tagName === "INPUT" ? before.value : null;
  replace();
  for (const each of main.querySelectorAll("details > summary")) {
    if (open.includes(each.textContent)) each.parentElement.open = true;
  }
  if (!key || document.contains(before)) return;
  const after = [...document.querySelectorAll("input, select, a, [aria-label]")].find((each) =>
    [each.name, each.getAttribute("aria-label"), each.getAttribute("href")].includes(key));
  if (typed !== null && after?.tagName === "INPUT") after.value = typed;
  after?.focus({ preventScroll: true });
  window.scrollTo(0, scrolled);
}

function clock() {
  return `${new Date().toISOString().slice(11, 19)} UTC`;
}

function fresh(versions, at) {
  const last = versions.versions.map((row) => row.last).filter(Boolean).sort().at(-1);
  said.textContent = every > EVERY_MS
    ? `as of ${clock()}, again every ${span(every / 1000)}` : `as of ${clock()}`;
  const age = last ? (at - Date.parse(last)) / 1000 : 0;
  warn(age > OLD_SECONDS
    ? `These data are old: the newest window ended ${span(age)} ago, at ${time(last)}.` : "");
}

function warn(text, ...more) {
  warning.hidden = !text;
  if (warning.firstChild?.textContent !== text) warning.replaceChildren(el("p", {}, text), ...more);
}

function failed(error) {
  if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
    askForToken(error);
  } else if (error instanceof Refused && error.status < 500) {
    shown = null;
    warn(`That cannot be shown: ${error.message}`);
    main.replaceChildren(el("p", { class: "empty" }, "Change what is asked for, or go to ",
      el("a", { href: "/" }, "the overview"), "."));
  } else {
    if (!away) since = clock();
    away += 1;
    const why = error instanceof Refused ? ` It says: ${error.message}` : "";
    warn(`The collector does not answer since ${since}. What stands here is from before; `
      + `it is asked again by itself.${why}`);
    said.textContent = "collector away";
  }
}

function askForToken(error) {
  shown = null;
  const text = error.status === 403
    ? `This token may not read: ${error.message}.`
    : token() ? "The token is not known here, or no longer valid. Another one is wanted."
      : "This collector wants a token of the role read.";
  warn(text);
  if (document.getElementById("token")) return;
  document.getElementById("filters").replaceChildren();
  const field = el("input", { id: "token", name: "token", type: "password", size: 40,
    autocomplete: "off", required: true });
  const form = el("form", { "aria-label": "Token" },
    el("label", { for: "token" }, "Token", field), el("button", {}, "Use it"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken(field.value.trim());
    field.value = "";
    field.id = "";
    refresh();
  });
  main.replaceChildren(el("h1", {}, "A token is wanted"), form,
    el("p", { class: "quiet" }, "It is kept in this tab alone, until that is closed. "
      + "Whoever runs the collector gives it out."));
  field.focus();
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[href^='/?'], a[href='/']");
  if (!anchor || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go(anchor.getAttribute("href"));
});
window.addEventListener("popstate", () => refresh({ moved: true }));
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
window.addEventListener("online", () => refresh());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  shown = null;
  refresh({ moved: true });
});
refresh({ moved: true });
