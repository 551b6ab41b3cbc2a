// Values as people read them.

export const words = (name) => name.replaceAll("_", " ");

export const whole = (number) => Math.round(number).toLocaleString("en");

// Four digits that tell, as in a metric.
export function figure(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(2).replace("e+", "e").replace(/\.?0+e/, "e");
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

export function count(value) {
  const units = ["", "K", "M", "G", "T"];
  let place = 0;
  while (value >= 1000 && place < units.length - 1) {
    value /= 1000;
    place += 1;
  }
  return `${place ? Number(value.toPrecision(3)) : Math.round(value)}${units[place]}`;
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  while (value >= 1000 && place < units.length - 1) {
    value /= 1000;
    place += 1;
  }
  return `${place ? Number(value.toPrecision(3)) : value} ${units[place]}`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

export const clock = (stamp) => new Date(stamp).toLocaleTimeString("en-GB");

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

// "3 minutes ago", and after a week the date.
export function ago(stamp) {
  const seconds = (new Date(stamp) - Date.now()) / 1000;
  if (seconds > -60) return "just now";
  for (const [unit, length, until] of [["minute", 60, 3600], ["hour", 3600, 86400], ["day", 86400, 604800]])
    if (-seconds < until) return relative.format(Math.round(seconds / length), unit);
  return new Date(stamp).toLocaleDateString("en", { year: "numeric", month: "short", day: "numeric" });
}
