// Tables: those of the answers, exactly as the command prints them, and our own.

import { el, name } from "./dom.js";

/** A table in a frame of its own that scrolls: on a phone the page stays as wide as it is. */
export function framed(caption, headings, rows, below = []) {
  const head = headings.map(({ text, word }) =>
    el("th", { scope: "col", class: word ? null : "figure" }, text));
  const line = (cells) => el("tr", {}, cells.map((cell, place) => {
    const { word } = headings[place];
    const attributes = place === 0 ? { scope: "row" } : {};
    return el(place === 0 ? "th" : "td", { ...attributes, class: word ? null : "figure" }, cell);
  }));
  return el(
    "div", { class: "frame", tabindex: 0, role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)),
      el("tbody", {}, rows.map(line)),
      below.length ? el("tfoot", {}, below.map(line)) : null),
  );
}

/** The table of an answer; `links` makes the address of a cell from its column and its row. */
export function ofAnswer(caption, answer, links = {}) {
  const { headings, words, kept, rows, below } = answer.table;
  if (!rows.length) return el("p", { class: "empty" }, `${caption}: nothing to show.`);
  const columns = headings.map((text, place) => ({ text, word: words.includes(place) }));
  const linked = rows.map((row) => row.map((text, place) => {
    const to = links[headings[place]];
    // What names a row is never nothing to read; what is not known of it is.
    const shown = words.includes(place) && (text || place < kept) ? name(text) : text;
    return to && text ? el("a", { href: to(text, row) }, shown) : marked(headings[place], shown, text);
  }));
  return framed(caption, columns, linked, below);
}

const ALARMING = new Set(["worse", "unusual", "silent", "alarm", "runs another", "twins"]);

function marked(heading, shown, text) {
  if (ALARMING.has(heading) && !["no", "-", ""].includes(text)) {
    return el("strong", { class: "bad" }, shown);
  }
  if (heading === "verdict") return el("strong", { class: `verdict ${text.replace(/\W+/g, "-")}` }, shown);
  return shown;
}

/** Terms and what is known of them. */
export function facts(caption, pairs) {
  return el("dl", { class: "facts", "aria-label": caption }, pairs.map(([term, value]) =>
    el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}
