// The caterpillar and the funnel: each group one mark on a canvas, ten thousand of them in a frame.

import { sized } from "./charts.js";
import { figure } from "./format.js";

const MARGIN = { left: 56, right: 10, top: 10, bottom: 30 };
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** RMSE of each group with its interval, from the best to the worst. */
export function caterpillar(groups, total, open) {
  const rows = groups.filter((row) => row.rmse !== null).sort((a, b) => a.rmse - b.rmse);
  const label = `RMSE of ${rows.length} groups from the lowest to the highest, with 95 % intervals`;
  return canvas(label, 260, rows, open, {
    x: (_row, place) => place, y: (row) => row.rmse,
    low: (row) => row.low ?? row.rmse, high: (row) => row.high ?? row.rmse,
    level: total.rmse, log: false, across: "groups, from the lowest RMSE to the highest",
  });
}

/** RMSE of each group over how many samples it has: what is far out with many is real. */
export function funnel(groups, total, open) {
  const rows = groups.filter((row) => row.rmse !== null && row.count > 0);
  const label = `RMSE of ${rows.length} groups against their number of samples`;
  return canvas(label, 260, rows, open, {
    x: (row) => Math.log10(row.count), y: (row) => row.rmse,
    low: (row) => row.rmse, high: (row) => row.rmse,
    level: total.rmse, log: true, across: "samples, logarithmic",
  });
}

function canvas(label, height, rows, open, how) {
  const box = sized(label, height, (into, width) => {
    const sheet = document.createElement("canvas");
    const scale = window.devicePixelRatio || 1;
    sheet.width = width * scale;
    sheet.height = height * scale;
    sheet.style.width = `${width}px`;
    sheet.style.height = `${height}px`;
    into.replaceChildren(sheet);
    const context = sheet.getContext("2d");
    context.scale(scale, scale);
    const place = draw(context, width, height, rows, how);
    sheet.addEventListener("mousemove", (event) => {
      const row = nearest(rows, place, event.offsetX, event.offsetY);
      sheet.title = row ? `${Object.values(row.by).join(", ")}: RMSE ${figure(row.rmse)}` : "";
      sheet.style.cursor = row && open ? "pointer" : "default";
    });
    sheet.addEventListener("click", (event) => {
      const row = nearest(rows, place, event.offsetX, event.offsetY);
      if (row && open) open(row);
    });
  });
  return box;
}

function draw(context, width, height, rows, how) {
  const xs = rows.map(how.x);
  const bounds = (values, share) => {
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const room = (high - low || Math.abs(high) || 1) * share;
    return [low - room, high + room];
  };
  const [left, right] = bounds(xs, 0.02);
  const [bottom, top] = bounds([...rows.map(how.low), ...rows.map(how.high)], 0.05);
  const toX = (value) =>
    MARGIN.left + ((value - left) / (right - left)) * (width - MARGIN.left - MARGIN.right);
  const toY = (value) =>
    height - MARGIN.bottom - ((value - bottom) / (top - bottom)) * (height - MARGIN.top - MARGIN.bottom);
  axes(context, width, height, { left, right, bottom, top, toX, toY }, how);
  const bad = (row) => row.unusual || row.materially_worse;
  const size = rows.length > 400 ? 1 : 3;
  // Where several intervals share a pixel each is fainter, so that marks are seen on top of them.
  const faint = Math.min(0.6, (0.4 * width) / rows.length);
  for (const [of, ink] of [[(row) => !bad(row), colour("--line")], [bad, colour("--bad")]]) {
    context.fillStyle = context.strokeStyle = ink;
    context.globalAlpha = ink === colour("--bad") ? 0.6 : faint;
    rows.forEach((row, place) => {
      if (!of(row)) return;
      context.beginPath();
      context.moveTo(toX(xs[place]), toY(how.low(row)));
      context.lineTo(toX(xs[place]), toY(how.high(row)));
      context.stroke();
    });
    context.globalAlpha = 1;
    rows.forEach((row, place) => {
      if (of(row)) context.fillRect(toX(xs[place]) - size, toY(how.y(row)) - size, 2 * size, 2 * size);
    });
  }
  level(context, width, { bottom, top, toY }, how);
  return rows.map((row, place) => [toX(xs[place]), toY(how.y(row))]);
}

function axes(context, width, height, { left, right, bottom, top, toX, toY }, how) {
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = colour("--quiet");
  context.strokeStyle = colour("--rule");
  context.textAlign = "right";
  for (const value of ticks(bottom, top, 5)) {
    context.beginPath();
    context.moveTo(MARGIN.left, toY(value));
    context.lineTo(width - MARGIN.right, toY(value));
    context.stroke();
    context.fillText(figure(value), MARGIN.left - 6, toY(value) + 4);
  }
  context.textAlign = "center";
  context.fillText(how.across, (width + MARGIN.left) / 2, height - 4);
  if (how.log) {
    for (let power = Math.ceil(left); power <= right; power += 1) {
      context.fillText(`10^${power}`, toX(power), height - MARGIN.bottom + 12);
    }
  }
}

/** The fleet's own RMSE, across everything. */
function level(context, width, { bottom, top, toY }, how) {
  if (how.level === null || how.level < bottom || how.level > top) return;
  context.strokeStyle = colour("--ink");
  context.setLineDash([5, 4]);
  context.beginPath();
  context.moveTo(MARGIN.left, toY(how.level));
  context.lineTo(width - MARGIN.right, toY(how.level));
  context.stroke();
  context.setLineDash([]);
}

/** Round values within [low, high], about so many. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    found.push(Number(value.toPrecision(12)));
  }
  return found;
}

const NEAR_PIXELS = 12;

function nearest(rows, places, x, y) {
  let best = null;
  let least = NEAR_PIXELS ** 2;
  places.forEach(([left, top], place) => {
    const distance = (left - x) ** 2 + (top - y) ** 2;
    if (distance < least) [best, least] = [rows[place], distance];
  });
  return best;
}
