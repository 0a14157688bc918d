// Are residuals, labels and scale as they were?

import { el, notes, section, sentences } from "../dom.js";
import { link } from "../state.js";
import { ofAnswer } from "../table.js";

export const title = "Drift";
export const fields = [{ name: "model" }, { name: "by", text: "group by", otherwise: "device" },
  { name: "reference", text: "then", hint: "START/END" }, { name: "now", text: "now since", hint: "7d" }];

export async function show(state, look) {
  const where = `model=${state.model}`;
  let { reference, now: since } = state;
  let until = "";
  let taken = null;
  if (!reference) {
    // What then and now are, unless somebody says it, is for diagnose to say.
    taken = await look.ask("diagnose", { where });
    ({ reference, since, until } = taken);
  }
  if (!reference) {
    return [el("p", { class: "empty" }, "There is no time before now to compare with yet."),
      notes(taken)];
  }
  const by = (state.by || "device").split(",").map((each) => each.trim());
  const found = await look.ask("drift", { where, by, reference, since, until, sort: "psi", limit: 100 });
  const device = (text) => link({ view: "device", device: text, model: state.model });
  return [
    el("p", { class: "quiet" }, `Then: ${found.reference}. Now: ${found.asked.since ?? "the start"} to ${found.asked.until ?? "the end"}.`),
    sentences(found),
    found.groups.length && found.groups.every((each) => each.alarm === false)
      ? el("p", {}, "Nothing drifts.") : null,
    notes(found),
    section("Then and now", ofAnswer("The most changed first", found, { device })),
  ];
}
