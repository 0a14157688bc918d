// Time series, by uPlot.

import { el } from "./dom.js";
import { figure } from "./format.js";

const DAY_SECONDS = 86_400;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** An element that is drawn as soon as it has a width, and again when that changes. */
export function sized(label, height, draw) {
  const box = el("div", { class: "chart", role: "img", "aria-label": label });
  let last = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width > 0 && width !== last) draw(box, width, height);
    last = width;
  }).observe(box);
  return box;
}

/** `rows` are points with `start`; `lines` say which of their fields are drawn, the first with a band. */
export function timeSeries(label, rows, lines, { height = 220, small = false, marks = [], range = null } = {}) {
  let plot = null;
  return sized(label, height, (box, width) => {
    if (plot) plot.setSize({ width, height });
    else plot = drawn(box, width, height, rows, lines, { small, marks, range });
  });
}

function drawn(box, width, height, rows, lines, { small, marks, range }) {
  const seconds = rows.map((row) => Date.parse(row.start) / 1000);
  const ink = colour("--quiet");
  const series = [{}];
  const data = [seconds];
  const bands = [];
  for (const { field, text, low, high, stroke = "--line" } of lines) {
    const points = { show: rows.length < 60 && !small, size: 5 };
    const value = (_plot, each) => figure(each);
    series.push({ label: text, stroke: colour(stroke), width: 1.5, points, value });
    data.push(rows.map((row) => row[field]));
    if (high) {
      const edge = { stroke: "transparent", width: 0, points: { show: false }, value };
      series.push({ ...edge, label: "high" }, { ...edge, label: "low" });
      data.push(rows.map((row) => row[high]), rows.map((row) => row[low]));
      bands.push({ series: [series.length - 2, series.length - 1], fill: colour("--band") });
    }
  }
  series[0].value = (_plot, each) => (each === null ? "-" : stamp(each, 19));
  const axis = { stroke: ink, grid: { stroke: colour("--rule"), width: 1 }, ticks: { show: false } };
  const options = {
    width, height, series, bands,
    axes: small ? [{ show: false }, { show: false }] : [{ ...axis, values: moments }, { ...axis, size: 62 }],
    legend: { show: !small, live: true },
    scales: range ? { y: { range } } : {},
    cursor: { show: !small, drag: { x: false, y: false } },
    padding: small ? [4, 2, 4, 2] : [8, 24, 0, 0],
    tzDate: (stamp) => uPlot.tzDate(new Date(stamp * 1000), "UTC"),
    hooks: { draw: [(plot) => vertical(plot, marks)] },
  };
  return new uPlot(options, data, box);
}

const stamp = (seconds, length = 16) =>
  new Date(seconds * 1000).toISOString().slice(0, length).replace("T", " ");

/** The time of day, and the date below where it is another than before: all UTC. */
function moments(_plot, splits, _axis, _space, step) {
  let day = "";
  return splits.map((each) => {
    const [date, hour] = stamp(each, step < 60 ? 19 : 16).split(" ");
    const below = date === day ? "" : date;
    day = date;
    if (step >= DAY_SECONDS) return date;
    return below ? `${hour}\n${below}` : hour;
  });
}

/** Lines at moments: where a level changed, where a version came. */
function vertical(plot, marks) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour("--bad");
  ctx.setLineDash([4, 4]);
  for (const { at } of marks) {
    const x = plot.valToPos(Date.parse(at) / 1000, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
