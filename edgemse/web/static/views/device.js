// One device: its windows, what they say of it, what it says of itself.

import { timeSeries } from "../charts.js";
import { el, name, notes, section, sentences } from "../dom.js";
import { count, time } from "../format.js";
import { bounds, link } from "../state.js";
import { facts, framed, ofAnswer } from "../table.js";

export const title = "Device";
export const fields = [{ name: "device", text: "device" }, { name: "model", optional: true },
  { name: "since", otherwise: "7d" }];

const LISTED = 100;

export async function show(state, look) {
  const model = state.model ? [`model=${state.model}`] : [];
  const span = bounds(state, "7d");
  if (!state.device) return list(await look.ask("devices", { where: model, limit: LISTED }), state);
  const span_of = { where: [`device=${state.device}`, ...model], ...span };
  const [one, trend, figures, segments, drifted] = await Promise.all([
    look.ask("devices", span_of),
    look.ask("trend", span_of),
    look.ask("variance", { ...span_of, by: ["model", "version"] }),
    look.ask("segments", span_of),
    look.ask("versions", span_of),
  ]);
  const row = one.devices.find((each) => each.device === state.device);
  return [
    el("h2", {}, name(state.device)),
    row ? told(one.table, row) : el("p", { class: "empty" }, "No device of this name is known."),
    notes(one),
    row?.attributes.length ? section("What it says of itself", attributes(row)) : null,
    row ? measured(trend) : null,
    row ? section("Figures by version", ofAnswer("Residuals", figures), notes(figures)) : null,
    row ? section("Segments", ofAnswer("Its segments, by what they add", segments)) : null,
    row ? section("Versions", ofAnswer("What it ran", drifted)) : null,
  ];
}

function list(found, state) {
  const device = (text) => link({ ...state, view: "device", device: text });
  return [ofAnswer("Devices", found, { device }), notes(found)];
}

const COUNTERS = ["windows", "predictions", "expired", "orphan", "duplicate", "conflicting",
  "cells_refused", "stores_changed"];

/** What the table's row says, all of it, and the counters that a table has no room for. */
function told({ headings, rows }, row) {
  const shown = rows[0].map((text, place) => [headings[place], name(text || "-")]).slice(1);
  const more = COUNTERS.map((field) => [field.replaceAll("_", " "), count(row[field])]);
  const said = [["software", row.software], ["clock", row.clock], ["settings", row.settings],
    ["known as", row.names.join(", ")], ["shared with", row.shared.join(", ")]]
    .filter(([, value]) => value).map(([term, value]) => [term, name(value)]);
  const flags = [["twins", "Two boards of this name report in turn."],
    ["retired", "It is out of service."], ["back", "It has reported since it was retired."],
    ["silent", "It is silent."]].filter(([field]) => row[field]);
  const unique = new Map([...shown, ...more, ...said]);
  return el("div", {},
    flags.map(([, text]) => el("p", { class: "bad" }, text)),
    facts("Device", [...unique]),
    Object.keys(row.health).length ? el("details", {}, el("summary", {}, "Counters of its last report"),
      facts("Counters", Object.entries(row.health).map(([key, value]) =>
        [key.replaceAll("_", " "), count(value)]))) : null);
}

function attributes(row) {
  const columns = ["attribute", "value", "since", "until"].map((text) => ({ text, word: true }));
  return framed("Attributes and the windows for which they hold", columns, row.attributes.map((each) =>
    [name(each.name), name(each.value || "(taken back)"), each.since ? time(each.since) : "always",
      each.until ? time(each.until) : "now"]));
}

function measured(trend) {
  if (!trend.points.length) return el("p", { class: "empty" }, "No window in this time.");
  return section("Windows",
    timeSeries("RMSE, with its 95 % interval", trend.points,
      [{ field: "rmse", text: "RMSE", low: "low", high: "high" }], { marks: trend.changes }),
    el("h3", {}, "Bias"),
    timeSeries("Mean error", trend.points, [{ field: "bias", text: "bias", stroke: "--second" }],
      { height: 140 }),
    sentences(trend), notes(trend));
}
