// Two versions: which is better, where not, and what is still needed to say so.

import { el, notes, section, sentences } from "../dom.js";
import { count, figure, interval } from "../format.js";
import { bounds } from "../state.js";
import { facts, framed, ofAnswer } from "../table.js";

export const title = "Compare";
export const fields = [{ name: "model" }, { name: "a", versions: true }, { name: "b", versions: true },
  { name: "max_ratio", text: "gate: at most", otherwise: "1.05" },
  { name: "since", otherwise: "all" }];

export function show(state, look) {
  if (!state.a || !state.b) {
    return [el("p", { class: "empty" }, "Two versions of this model are needed; there is one.")];
  }
  const asked = { where: `model=${state.model}`, a: state.a, b: state.b, ...bounds(state, "all") };
  const found = look.ask("compare", { ...asked, by: "segment" });
  return [
    found.then((answer) => whole(state, answer)),
    look.ask("gate", { ...asked, by: "segment", max_ratio: state.max_ratio || "1.05" }).then((gate) =>
      section("Gate", sentences(gate), ofAnswer("Checks", gate), notes(gate))),
    found.then(parts),
  ];
}

function whole(state, found) {
  const { needed, pooled } = found;
  return [
    el("p", { class: "big" }, `RMSE ${state.b} to ${state.a}: ${figure(found.ratio)}`),
    el("p", { class: "quiet" }, `95 %: ${interval(found.low, found.high)}; below 1 b is better`),
    sentences(found),
    facts("Comparison", [
      ["method", found.method || "-"],
      ["devices", count(found.devices)],
      ["p", figure(found.p_value)],
      ["RMSE a", figure(found.a.rmse)],
      ["RMSE b", figure(found.b.rmse)],
      ["difference", figure(found.delta_rmse)],
      ["over all samples", `${figure(pooled.ratio)} (${interval(pooled.low, pooled.high)})`],
      [`devices to see ${needed ? figure(needed.ratio) : "it"}`, needed ? count(needed.devices) : "-"],
    ]),
    notes(found),
  ];
}

function parts(found) {
  return [
    section("Segments", ofAnswer("b to a in each segment", found)),
    section("Tails", framed("Quantiles of the absolute error, b to a", TAILS, found.tails.map((each) =>
      [figure(each.q), figure(each.ratio), interval(each.low, each.high), figure(each.worse),
        figure(each.relative), figure(each.heavier)]))),
    found.mix ? mixed(found.mix) : null,
  ];
}

const headed = (...texts) => texts.map((text) => ({ text, word: false }));
const TAILS = headed("quantile", "ratio", "95 %", "worse", "to the RMSE's", "heavier");

function mixed(mix) {
  const columns = [{ text: mix.by.join(", "), word: true }, ...headed("of a", "of b", "of the fleet")];
  return section("Mix",
    facts("Mix", [
      ["ratio at the fleet's mix", figure(mix.ratio)],
      ["95 %", interval(mix.low, mix.high)],
      ["segments unlike", figure(mix.segments_unlike)],
      ["devices unlike", figure(mix.devices_unlike)],
      ["devices of a, b, both", [mix.devices_a, mix.devices_b, mix.devices_both].map(count).join(", ")],
    ]),
    framed("Shares of samples", columns, mix.segments.map((each) =>
      [el("bdi", {}, Object.values(each.by).join(", ") || "(no name)"),
        ...[each.share_a, each.share_b, each.share_fleet].map(figure)])));
}
