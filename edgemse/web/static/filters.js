// The form above each view: what it says goes into the address, and the view follows that.

import { el } from "./dom.js";
import { SPANS } from "./state.js";

/** Return what a view needs and the address does not say: the first model, the last two versions. */
export function completed(state, view, versions) {
  const named = new Set(view.fields.map((field) => field.name));
  const found = { ...state };
  const rows = versions.versions;
  const asks = view.fields.find((field) => field.name === "model");
  if (asks && !asks.optional && found.model === undefined) found.model = rows[0]?.model;
  if (named.has("a")) {
    const own = rows.filter((row) => row.model === found.model)
      .sort((one, two) => (one.first ?? "").localeCompare(two.first ?? ""));
    found.b ??= own.at(-1)?.version;
    found.a ??= own.filter((row) => row.version !== found.b).at(-1)?.version;
  }
  return found;
}

export function filters(state, view, versions, apply) {
  const rows = versions.versions;
  const own = rows.filter((row) => row.model === state.model).map((row) => row.version);
  const choices = {
    model: [...new Set(rows.map((row) => row.model))],
    a: own, b: own,
  };
  const made = view.fields.map((field) => {
    const value = state[field.name] ?? field.otherwise ?? "";
    if (field.name === "since" && !field.hint) return select(field, value, Object.entries(SPANS));
    if (choices[field.name]) {
      const options = choices[field.name].map((each) => [each, each || "(no name)"]);
      return select(field, value, field.optional ? [["", "all"], ...options] : options);
    }
    return labelled(field, el("input", { name: field.name, value, placeholder: field.hint,
      size: 14, maxlength: 300, autocomplete: "off", spellcheck: "false" }));
  });
  const form = document.getElementById("filters");
  form.replaceChildren(...made, el("button", {}, "Show"));
  form.onsubmit = (event) => {
    event.preventDefault();
    apply(Object.fromEntries(new FormData(form)));
  };
  form.onchange = (event) => {
    if (event.target.name === "model") {
      // Versions are of one model: those that were chosen are none of another.
      apply({ ...Object.fromEntries(new FormData(form)), a: undefined, b: undefined });
    } else if (event.target.tagName === "SELECT") form.requestSubmit();
  };
}

function select(field, value, options) {
  const known = options.some(([each]) => each === value) ? options : [...options, [value, value]];
  return labelled(field, el("select", { name: field.name }, known.map(([each, text]) =>
    el("option", { value: each, selected: each === value }, text))));
}

function labelled(field, control) {
  const text = { since: "since", model: "model", a: "a: version", b: "b: version" };
  return el("label", {}, field.text ?? text[field.name] ?? field.name, control);
}
