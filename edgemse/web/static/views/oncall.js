// The last day, in the order in which somebody who was woken looks.

import { timeSeries } from "../charts.js";
import { el, notes, section, sentences } from "../dom.js";
import { bounds, link } from "../state.js";
import { ofAnswer } from "../table.js";

export const title = "On call";
export const fields = [{ name: "model" }, { name: "since", otherwise: "24h" }];

const WORST = { sort: "shrunk_rmse", limit: 10 };
const COVERED = [
  { field: "coverage", text: "labelled", title: "Share of predictions with a label", range: [0, 1] },
  { field: "lag_p95_seconds", text: "lag p95 s", title: "Seconds until 95 % of labels came", stroke: "--second" },
];

export function show(state, look) {
  const span = { where: `model=${state.model}`, ...bounds(state, "24h") };
  const device = (text) => link({ view: "device", device: text, model: state.model });
  const trend = look.ask("trend", span);
  return [
    look.ask("diagnose", { where: span.where }).then((found) => section("Diagnosis",
      sentences(found), ofAnswer("What was looked at", found), notes(found))),
    trend.then((found) => section("Error", chart("RMSE, with its 95 % interval", found,
      [{ field: "rmse", text: "RMSE", low: "low", high: "high" }]), sentences(found), notes(found))),
    trend.then(labels),
    halves(
      look.ask("segments", { ...span, ...WORST }).then((found) => section("Worst segments",
        ofAnswer("Segments by steadied RMSE", found), notes(found))),
      look.ask("segments", { ...span, ...WORST, by: "device" }).then((found) =>
        section("Worst devices", ofAnswer("Devices by steadied RMSE", found, { device }),
          notes(found)))),
    look.ask("devices", { ...span, sort: "silent", limit: 20 }).then((found) =>
      section("Devices, silent ones first", ofAnswer("Devices", found, { device }), notes(found))),
    look.ask("versions", span).then((found) =>
      section("Versions in this time", ofAnswer("Versions", found), sentences(found))),
  ];
}

async function halves(...parts) {
  return el("div", { class: "halves" }, await Promise.all(parts));
}

function labels(trend) {
  const covered = COVERED.filter(({ field }) => trend.points.some((each) => each[field] !== null));
  return section("Labels", covered.length
    ? covered.map((line) => [el("h3", {}, line.title), chart(line.title, trend, [line])])
    : el("p", { class: "empty" }, "No prediction waits for a label: samples come whole."));
}

function chart(label, trend, lines) {
  if (!trend.points.length) return el("p", { class: "empty" }, "No window in this time.");
  const { range } = lines[0];
  return timeSeries(label, trend.points, lines, { marks: trend.changes, range, height: range ? 140 : 220 });
}
