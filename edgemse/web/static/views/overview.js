// Every model and version: how wrong now, where it is going, what it was made of.

import { timeSeries } from "../charts.js";
import { el, name, notes, section } from "../dom.js";
import { count, figure, interval, time } from "../format.js";
import { bounds, link } from "../state.js";
import { facts } from "../table.js";

export const title = "Overview";
export const fields = [{ name: "since", otherwise: "24h" }];

const TRENDS_MAX = 12;
const TREND_SINCE = "30d";

export async function show(state, look, { versions }) {
  const span = bounds(state, "24h");
  const [now, figures] = await Promise.all([
    look.ask("versions", span),
    look.ask("variance", { ...span, by: ["model", "version"] }),
  ]);
  const rows = versions.versions;
  const trends = await Promise.all(rows.slice(0, TRENDS_MAX).map(({ model, version }) =>
    look.ask("trend", { where: [`model=${model}`, `version=${version}`], since: TREND_SINCE })));
  if (!rows.length) return [empty(versions)];
  const models = [...new Set(rows.map((row) => row.model))];
  return [
    figures.cells_found ? null : notes({ notes: figures.notes.slice(0, 1) }),
    models.map((model) => section(`Model ${model || "without a name"}`,
      el("div", { class: "cards" }, rows.map((row, place) => row.model === model
        ? card(row, of(now.versions, row), group(figures.groups, row), trends[place], state)
        : null)))),
    ...versions.sentences.map((each) => el("p", { class: "said bad" }, each)),
  ];
}

function empty(versions) {
  return el("div", {},
    el("p", { class: "empty" }, "Nothing has been measured yet: the store is empty."),
    el("p", {}, "Start an agent beside a model and let it report to this collector's broker."),
    notes(versions));
}

const same = (one, two) => one.model === two.model && one.version === two.version;
const of = (rows, row) => rows.find((each) => same(each, row));
const group = (groups, row) => groups.find(({ by }) => same(by, row));

function card(row, now, figures, trend, state) {
  const to = link({ view: "oncall", model: row.model, since: state.since });
  const known = figures ?? { rmse: null, low: null, high: null, count: 0, bias: null };
  return el("article", { class: "card" },
    el("h3", {}, el("a", { href: to }, name(row.version))),
    el("p", { class: "big" }, `RMSE ${figure(known.rmse)}`),
    el("p", { class: "quiet" }, `95 %: ${interval(known.low, known.high)}`),
    trend && trend.points.length > 1
      ? timeSeries(`RMSE of version ${row.version} over 30 days`, trend.points,
        [{ field: "rmse", text: "RMSE", low: "low", high: "high" }], { height: 64, small: true })
      : el("p", { class: "quiet" }, "no trend yet in 30 days"),
    facts("Version", [
      ["samples", count(known.count)],
      ["devices", count(now ? now.devices : 0)],
      ["bias", figure(known.bias)],
      ["offline", figure(row.baseline_rmse)],
      ["last window", time(row.last)],
      ...[["owner", row.owner], ["git", row.git], ["training data", row.training_data]]
        .filter(([, value]) => value).map(([term, value]) => [term, name(value)]),
    ]));
}
