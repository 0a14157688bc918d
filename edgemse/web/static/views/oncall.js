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

export async function show(state, look) {
  const span = { where: `model=${state.model}`, ...bounds(state, "24h") };
  const [found, trend, segments, devices, silent, came] = await Promise.all([
    look.ask("diagnose", { where: `model=${state.model}` }),
    look.ask("trend", span),
    look.ask("segments", { ...span, ...WORST }),
    look.ask("segments", { ...span, ...WORST, by: "device" }),
    look.ask("devices", { ...span, sort: "silent", limit: 20 }),
    look.ask("versions", span),
  ]);
  const device = (text) => link({ view: "device", device: text, model: state.model });
  const covered = COVERED.filter(({ field }) => trend.points.some((each) => each[field] !== null));
  return [
    section("Diagnosis", sentences(found),
      ofAnswer("What was looked at", found), notes(found)),
    section("Error", chart("RMSE, with its 95 % interval", trend,
      [{ field: "rmse", text: "RMSE", low: "low", high: "high" }]), sentences(trend), notes(trend)),
    section("Labels", covered.length
      ? covered.map((line) => [el("h3", {}, line.title), chart(line.title, trend, [line])])
      : el("p", { class: "empty" }, "No prediction waits for a label: samples come whole.")),
    el("div", { class: "halves" },
      section("Worst segments", ofAnswer("By steadied RMSE", segments), notes(segments)),
      section("Worst devices", ofAnswer("By steadied RMSE", devices, { device }), notes(devices))),
    section("Devices, silent ones first", ofAnswer("Devices", silent, { device }), notes(silent)),
    section("Versions in this time", ofAnswer("Versions", came), sentences(came)),
  ];
}

function chart(label, trend, lines) {
  if (!trend.points.length) return el("p", { class: "empty" }, "No window in this time.");
  const { range } = lines[0];
  return timeSeries(label, trend.points, lines, { marks: trend.changes, range, height: range ? 140 : 220 });
}
