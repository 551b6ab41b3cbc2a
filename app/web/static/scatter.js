// Trials as marks: one parameter across, the score up. Shape tells what became of a trial. Knows no sweep.
//
// A point is {x, score, kind, title}; one without a score lies in the strip below.

import { logTicks, ticks } from "./chart.js";
import { svg } from "./dom.js";
import { figure } from "./format.js";

const WIDTH = 400;
const HEIGHT = 230;
const MARGIN = { top: 10, right: 14, bottom: 48, left: 60 };
const STRIP = 16;
const PIXELS_A_CHARACTER = 7;
const MAX_TICKS = 6;
const BOTTOM = HEIGHT - MARGIN.bottom;
const ACROSS = WIDTH - MARGIN.left - MARGIN.right;

// By kind, around the origin.
const SHAPES = {
  best: "M0-8 2.2-2.6 8-2.5 3.4 1.1 5 6.7 0 3.4-5 6.7-3.4 1.1-8-2.5-2.2-2.6Z",
  complete: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",
  pruned: "M0 5-5-4 5-4Z",
  failed: "M-4-4 4 4M4-4-4 4",
  running: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",
};

export const mark = (kind, attributes = {}, ...children) => svg("path", { d: SHAPES[kind], class: `mark ${kind}`, ...attributes }, ...children);

// `axis` is {log, low, high} of numbers or {choices}; `log` is of the score.
export function scatter(label, points, axis, { log }) {
  const shown = points.filter(({ score }) => score !== null && (!log || score > 0));
  const x = axis.choices ? places(axis.choices) : numbers(axis);
  const y = heights(shown.map(({ score }) => score), log);
  const marks = points.map((point) => {
    const at = shown.includes(point) ? y.of(point.score) : BOTTOM + STRIP;
    return mark(point.kind, { transform: `translate(${x.of(point.x).toFixed(1)} ${at.toFixed(1)})` }, svg("title", {}, point.title));
  });
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": told(label, points) },
    y.ticks.flatMap((value) => [
      svg("line", { class: "rule", x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y.of(value), y2: y.of(value) }),
      svg("text", { x: MARGIN.left - 8, y: y.of(value) + 4, "text-anchor": "end" }, figure(value)),
    ]),
    shown.length < points.length && svg("text", { x: MARGIN.left - 8, y: BOTTOM + STRIP + 4, "text-anchor": "end" }, "no score"),
    x.ticks.map(([at, text]) => svg("text", { x: at, y: HEIGHT - 10, "text-anchor": "middle" }, text)),
    marks,
  );
}

function told(label, points) {
  const best = points.find(({ kind }) => kind === "best");
  const scored = points.filter(({ score }) => score !== null).length;
  return `${label}: ${scored} of ${points.length} trials with a score${best ? `; the best, ${best.title}` : ""}`;
}

function numbers({ log, low, high }) {
  const place = log ? Math.log : (value) => value;
  const of = (value) => MARGIN.left + (ACROSS * (place(value) - place(low))) / (place(high) - place(low));
  const all = (log ? logTicks(low, high) : ticks(low, high, 4)).filter((value) => value >= low && value <= high);
  return { of, ticks: thinned(all).map((value) => [of(value), figure(value)]) };
}

const thinned = (all) => all.filter((_, index) => index % Math.ceil(all.length / MAX_TICKS) === 0);

// Choices stand side by side; where their names have no room, some have none.
function places(choices) {
  const room = ACROSS / choices.length;
  const names = choices.map((choice) => (typeof choice === "string" ? choice : JSON.stringify(choice)));
  const keys = choices.map((choice) => JSON.stringify(choice));
  const at = (index) => MARGIN.left + room * (index + 0.5);
  const every = Math.ceil((3 * PIXELS_A_CHARACTER) / room);
  const length = Math.floor((room * every) / PIXELS_A_CHARACTER);
  const told = names.map((name, index) => [at(index), name.length > length ? `${name.slice(0, length - 1)}…` : name]);
  return { of: (choice) => at(keys.indexOf(JSON.stringify(choice))), ticks: told.filter((_, index) => index % every === 0) };
}

function heights(scores, log) {
  if (!scores.length) return { ticks: [] };
  let [low, high] = [Math.min(...scores), Math.max(...scores)];
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - Math.abs(low) / 10 - 1e-9, high + Math.abs(high) / 10 + 1e-9];
  const values = log ? logTicks(low, high) : ticks(low, high, 4);
  if (!log) [low, high] = [Math.min(low, values[0]), Math.max(high, values.at(-1))];
  const place = log ? Math.log : (value) => value;
  return { of: (score) => BOTTOM - ((BOTTOM - MARGIN.top) * (place(score) - place(low))) / (place(high) - place(low)), ticks: values };
}
