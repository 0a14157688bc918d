// How much devices differ, which of that is real, and who stands out.

import { el, name, notes, section, sentences } from "../dom.js";
import { count, figure, interval } from "../format.js";
import { caterpillar, funnel } from "../plots.js";
import { bounds, link } from "../state.js";
import { facts, framed, ofAnswer } from "../table.js";

export const title = "Fleet variance";
export const fields = [{ name: "model" }, { name: "by", text: "group by", otherwise: "device" },
  { name: "explain", text: "explained by", hint: "site,hardware" }, { name: "since", otherwise: "7d" }];

const WORST = { sort: "ratio", limit: 50 };

export async function show(state, look, _common, go) {
  const by = (state.by || "device").split(",").map((each) => each.trim());
  const asked = { where: `model=${state.model}`, by, explain: state.explain, ...bounds(state, "7d") };
  const all = await look.ask("variance", { ...asked, format: "json" });
  const worst = await look.ask("variance", { ...asked, ...WORST });
  const device = (text) => link({ view: "device", device: text, model: state.model });
  const open = by.includes("device") ? (row) => go(device(row.by.device)) : null;
  const { between, variance } = all;
  if (!all.groups.length) return [notes(all)];
  return [
    sentences(worst),
    facts("Differences", [
      ["between groups, %", figure(between.spread_percent)],
      ["95 %", interval(between.low, between.high)],
      ["real differences (tau²)", figure(variance.tau2)],
      ["by chance", figure(variance.sampling_variance)],
      ["reliability (I²)", figure(variance.i2)],
      ["groups", count(variance.devices)],
    ]),
    notes(all),
    el("div", { class: "halves" },
      section("Caterpillar", caterpillar(all.groups, all.total, open)),
      section("Funnel", funnel(all.groups, all.total, open))),
    el("p", { class: "quiet" }, "Red: unusual, or materially worse. Dashed: the fleet."),
    all.explained.length ? explained(all.explained) : null,
    section("The worst", ofAnswer("By their RMSE to the median", worst, { device })),
  ];
}

function explained(rows) {
  const columns = [{ text: "attribute", word: true },
    ...["share", "95 %", "p", "p adjusted", "values", "groups"].map((text) => ({ text, word: false }))];
  return section("What explains it", framed("Of the differences", columns, rows.map((each) =>
    [name(each.name), figure(each.share), interval(each.low, each.high), figure(each.p_value),
      figure(each.p_adjusted), count(each.values), count(each.groups)])));
}
