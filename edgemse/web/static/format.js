// Figures as the commands print them: six digits, "-" for what is not known.

export function figure(value) {
  if (value === null || value === undefined) return "-";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  const [mantissa, exponent] = value.toExponential(5).split("e");
  const power = Number(exponent);
  if (power < -4 || power >= 6) {
    const sign = power < 0 ? "-" : "+";
    return `${trimmed(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return trimmed(value.toFixed(5 - power));
}

function trimmed(text) {
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}

export function count(value) {
  if (value === null || value === undefined) return "-";
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function interval(low, high) {
  return low === null || high === null ? "-" : `${figure(low)} to ${figure(high)}`;
}

export function time(text) {
  return text === null ? "-" : text.replace("T", " ").replace(/:\d\dZ$/, " UTC");
}

const UNITS = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];

/** How long a span is, in its largest unit: 7500 s are "2 hours". */
export function span(seconds) {
  for (const [size, unit] of UNITS) {
    const whole = Math.floor(seconds / size);
    if (whole >= 1) return `${whole} ${unit}${whole === 1 ? "" : "s"}`;
  }
  return "0 seconds";
}
