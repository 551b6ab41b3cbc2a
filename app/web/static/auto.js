// How what was left `auto` was decided: one sentence, the candidates' curves and their scores. Knows a job's view alone.

import { Chart } from "./chart.js";
import { h } from "./dom.js";
import { figure, whole, words } from "./format.js";

const charts = new Map(); // by the name of the field: they live on while their lines change

export const isOpen = (job) => Object.values(job.auto).some(({ chosen }) => chosen === null);

export function showAuto(host, job) {
  const parts = Object.entries(job.auto).map(([name, decision]) => part(name, decision, job));
  host.replaceChildren(...parts.flat());
  return parts.length > 0;
}

function part(name, { candidates, chosen, reason }, job) {
  const told = chosen === null ? progress(job) : `${words(name)} ${figure(chosen)}${name === "duration" ? " steps at most" : ""}. `;
  const sentence = h("p", { class: "note" }, h("strong", {}, told), reason ?? "");
  if (!candidates.length) return [sentence];
  const chart = charts.get(name) ?? made(name);
  const colour = (place) => `oklch(0.62 0.15 ${Math.round((300 * place) / candidates.length) + 20})`;
  chart.show(
    candidates.map(({ value, curve }, place) => ({ name: figure(value), points: curve, colour: colour(place), dashed: value !== chosen })),
    { log: true },
  );
  return [sentence, chart.place, table(name, candidates, chosen)];
}

function progress({ progress: { phase, num_trials_done: done, num_trials: all } }) {
  return phase === "trials" ? `${whole(done)} of at most ${whole(all)} trials are made. ` : "Trials come before the first step. ";
}

function made(name) {
  const place = h("div");
  const chart = new Chart(place, `Training loss in the trials of the ${words(name)}`, 200);
  chart.place = place;
  charts.set(name, chart);
  return chart;
}

function table(name, candidates, chosen) {
  const heads = [words(name), "Validation loss", "Steps"].map((text, place) => h("th", { scope: "col", class: place ? "number" : null }, text));
  const rows = candidates.map(({ value, score, steps, stopped_at_step: stopped, cut }) =>
    h("tr", { class: value === chosen ? "differs" : null },
      h("th", { scope: "row" }, figure(value)),
      h("td", { class: "number" }, cut ? words(cut) : figure(score)),
      h("td", { class: "number" }, stopped === steps ? whole(steps) : `${whole(stopped)} of ${whole(steps)}`)));
  return h("table", {}, h("caption", { class: "hidden-text" }, `Candidates for the ${words(name)}`), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
}
