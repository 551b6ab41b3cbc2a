// Lines over steps, drawn as SVG; told by pointer, by keys and in words. Knows no job.
//
// A line is {name, points, colour, dashed, raw}: a raw line stands faint behind the others and in no legend.

import { framed, h, svg } from "./dom.js";
import { figure, whole } from "./format.js";
import { nearest } from "./series.js";

const MARGIN = { top: 10, right: 12, bottom: 26, left: 52 };

export class Chart {
  #host;
  #lines = [];
  #options = { log: false };
  #at = null; // the step under the crosshair
  #scale = null;

  constructor(host, label, height = 300) {
    this.#host = host;
    this.label = label;
    this.height = height;
    this.legend = h("div", { class: "legend" });
    this.image = svg("svg", { role: "img", tabindex: "0" });
    this.tip = h("div", { class: "tip", hidden: true });
    host.append(this.legend, h("div", { class: "chart" }, this.image, this.tip));
    this.redraw = framed(() => this.#draw());
    new ResizeObserver(this.redraw).observe(host);
    this.image.addEventListener("pointermove", (event) => this.#point(event));
    this.image.addEventListener("pointerleave", () => this.#tell(null));
    this.image.addEventListener("blur", () => this.#tell(null));
    this.image.addEventListener("keydown", (event) => this.#step(event));
  }

  show(lines, options = {}) {
    this.#lines = lines.filter((line) => line.points.length);
    this.#options = { ...this.#options, ...options };
    this.redraw();
  }

  #draw() {
    const width = this.#host.clientWidth - 2 * parseFloat(getComputedStyle(this.#host).paddingLeft);
    if (width <= 0) return;
    this.image.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.image.setAttribute("aria-label", this.#words());
    const lines = this.#options.log
      ? this.#lines.map((line) => ({ ...line, points: line.points.filter(([, value]) => value > 0) }))
      : this.#lines;
    const drawn = lines.filter((line) => line.points.length);
    this.#drawLegend(drawn);
    if (!drawn.length) {
      this.#scale = null;
      this.image.replaceChildren(svg("text", { x: width / 2, y: this.height / 2, "text-anchor": "middle" }, "No points yet"));
      return;
    }
    this.#scale = { ...scaleOf(drawn, width, this.height, this.#options.log), lines: drawn };
    this.cross = svg("line", { class: "cross", y1: MARGIN.top, y2: this.height - MARGIN.bottom, visibility: "hidden" });
    const back = drawn.filter((line) => line.raw);
    const front = drawn.filter((line) => !line.raw);
    this.image.replaceChildren(...this.#axes(width), ...[...back, ...front].map((line) => this.#path(line)), this.cross);
    if (this.#at !== null) this.#tell(this.#at);
  }

  #path({ points, colour, dashed, raw }) {
    const { x, y } = this.#scale;
    const data = points.map(([step, value], index) => `${index ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`);
    const alone = points.length === 1;
    if (alone) data.push("h.01");
    const kinds = Object.entries({ raw, dashed, dot: alone }).filter(([, holds]) => holds);
    const path = svg("path", { d: data.join(""), class: kinds.map(([kind]) => kind).join(" "), "stroke-linecap": "round" });
    path.style.stroke = colour;
    return path;
  }

  #axes(width) {
    const { x, y, xTicks, yTicks } = this.#scale;
    const bottom = this.height - MARGIN.bottom;
    return [
      ...yTicks.flatMap((value) => [
        svg("line", { class: "rule", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
        svg("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, figure(value)),
      ]),
      ...xTicks.map((step) => svg("text", { x: x(step), y: bottom + 18, "text-anchor": "middle" }, whole(step))),
    ];
  }

  #drawLegend(lines) {
    const told = lines.filter((line) => !line.raw);
    this.legend.replaceChildren(
      ...told.map((line) => {
        const stroke = svg("path", { d: "M0 4h22", class: line.dashed ? "dashed" : "" });
        stroke.style.stroke = line.colour;
        const content = [svg("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }, stroke), line.name];
        return line.link ? h("a", { href: line.link }, ...content) : h("span", {}, ...content);
      }),
    );
  }

  #words() {
    const lines = this.#lines.filter((line) => !line.raw);
    if (!lines.length) return `${this.label}: no points yet`;
    const told = lines.map(({ name, points }) => {
      const [step, value] = points.at(-1);
      return `${name} from ${figure(points[0][1])} to ${figure(value)} at step ${whole(step)}`;
    });
    return `${this.label}: ${told.join("; ")}`;
  }

  #point(event) {
    if (!this.#scale) return;
    const box = this.image.getBoundingClientRect();
    this.#tell(this.#scale.step(event.clientX - box.left));
  }

  #step(event) {
    if (!this.#scale || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    const { first, last } = this.#scale;
    const stride = Math.max(1, (last - first) / 50);
    const from = this.#at ?? last;
    const to = { ArrowLeft: from - stride, ArrowRight: from + stride, Home: first, End: last }[event.key];
    this.#tell(Math.min(last, Math.max(first, to)));
  }

  #tell(step) {
    this.#at = step;
    const shown = step !== null && this.#scale;
    this.tip.hidden = !shown;
    this.cross?.setAttribute("visibility", shown ? "visible" : "hidden");
    if (!shown) return;
    const { x, lines } = this.#scale;
    const found = lines.map((line) => ({ ...line, point: nearest(line.points, step) }));
    const at = found.reduce((best, { point }) => (Math.abs(point[0] - step) < Math.abs(best - step) ? point[0] : best), Infinity);
    this.cross.setAttribute("x1", x(at));
    this.cross.setAttribute("x2", x(at));
    const rows = found.filter(({ raw }) => !raw).map(({ name, point }) =>
      h("div", {}, `${name} ${figure(point[1])}${point[0] === at ? "" : ` (step ${whole(point[0])})`}`));
    this.tip.replaceChildren(h("strong", {}, `step ${whole(at)}`), ...rows);
    const room = this.image.clientWidth - this.tip.offsetWidth;
    const beside = x(at) > this.image.clientWidth / 2 ? x(at) - this.tip.offsetWidth - 12 : x(at) + 12;
    this.tip.style.left = `${Math.max(0, Math.min(room, beside))}px`;
  }
}

function scaleOf(lines, width, height, log) {
  let [first, last, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const { points } of lines) {
    first = Math.min(first, points[0][0]);
    last = Math.max(last, points.at(-1)[0]);
    for (const [, value] of points) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (last === first) last = first + 1;
  if (!log && low > 0 && low < high / 2) low = 0;
  if (high === low) [low, high] = log ? [low / 2, high * 2] : [low - Math.abs(low) / 2 - 1e-9, high + Math.abs(high) / 2 + 1e-9];
  const yTicks = log ? logTicks(low, high) : ticks(low, high, 5);
  if (!log) [low, high] = [Math.min(low, yTicks[0]), Math.max(high, yTicks.at(-1))];
  const across = width - MARGIN.left - MARGIN.right;
  const down = height - MARGIN.top - MARGIN.bottom;
  const place = log ? Math.log : (value) => value;
  const share = (value) => (place(value) - place(low)) / (place(high) - place(low));
  return {
    first,
    last,
    x: (step) => MARGIN.left + ((step - first) / (last - first)) * across,
    y: (value) => MARGIN.top + (1 - share(value)) * down,
    step: (pixels) => first + ((pixels - MARGIN.left) / across) * (last - first),
    xTicks: ticks(first, last, Math.max(2, Math.floor(across / 110)), 1).filter((step) => step >= first && step <= last),
    yTicks,
  };
}

// Round numbers around a range, about `wanted` of them and at least `least` apart.
export function ticks(low, high, wanted, least = 0) {
  const rough = Math.max((high - low) / wanted, least);
  const power = 10 ** Math.floor(Math.log10(rough));
  const stride = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let at = Math.floor(low / stride); at * stride < high + stride * 0.999; at += 1) found.push(Number((at * stride).toPrecision(12)));
  return found;
}

export function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1)
    for (const factor of [1, 2, 5]) {
      const value = factor * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) found.push(Number(value.toPrecision(6)));
    }
  if (found.length > 8) return found.filter((value) => Number.isInteger(Math.round(Math.log10(value) * 1e6) / 1e6));
  return found.length > 1 ? found : [low, high];
}
