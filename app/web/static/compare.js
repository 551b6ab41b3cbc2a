// Several jobs beside each other: one measure's curves, and what they were asked for and came to.

import { call, say } from "./api.js";
import { Chart } from "./chart.js";
import { badge, byId, h, pageState } from "./dom.js";
import { figure, words } from "./format.js";
import { smoothed } from "./series.js";
import { flat, settingsTable } from "./specs.js";

const MAX_POINTS = 600;
const HUES = [221, 17, 145, 285, 45, 190, 330, 85, 255, 0];

const { jobs } = pageState();
const series = new Map(); // job id -> {name: points}

const colour = (index) => {
  const hue = HUES[index % HUES.length];
  return `light-dark(hsl(${hue} 75% 36%), hsl(${hue} 85% 70%))`;
};
const named = (job) => job.name ?? `${words(job.method)} ${job.id.slice(-6)}`;

function showCurves(chart) {
  const weight = Number(byId("smoothing").value);
  const measure = byId("measure").value;
  const lines = jobs.map((job, index) => ({
    name: named(job),
    link: `/jobs/${job.id}`,
    colour: colour(index),
    dashed: index >= HUES.length,
    points: smoothed(series.get(job.id)?.[measure] ?? [], measure.startsWith("validation") ? 0 : weight),
  }));
  chart.label = words(measure);
  chart.show(lines, { log: byId("log").checked });
}

function showMeasures() {
  const names = [...new Set([...series.values()].flatMap((one) => Object.keys(one)))].sort();
  const first = ["validation_loss", "train_loss"].find((name) => names.includes(name));
  byId("measure").replaceChildren(...names.map((name) => h("option", { value: name, selected: name === first }, words(name))));
}

function showSettings() {
  const columns = jobs.map((job) => [
    [h("a", { href: `/jobs/${job.id}` }, named(job)), " ", badge(job.status)],
    { ...results(job), ...flat(job.spec), ...(job.resolved ? flat(job.resolved, "resolved") : {}) },
  ]);
  byId("settings").replaceChildren(settingsTable(columns, { onlyDiffering: jobs.length > 1 && byId("changed").checked, caption: "Settings and results" }));
}

const results = ({ metrics }) =>
  Object.fromEntries(Object.entries(metrics).sort().map(([name, value]) => [`metrics.${name}`, figure(value)]));

async function load(job) {
  const { data } = await call("GET", `/v1/jobs/${job.id}/metrics?max_points=${MAX_POINTS}`);
  series.set(job.id, Object.fromEntries(data.map(({ name, points }) => [name, points])));
}

if (jobs.length) {
  const chart = new Chart(byId("chart"), "Curves", 340);
  for (const id of ["measure", "smoothing", "log"]) byId(id).addEventListener("input", () => showCurves(chart));
  byId("changed").addEventListener("change", showSettings);
  showSettings();
  Promise.all(jobs.map(load))
    .then(() => {
      showMeasures();
      showCurves(chart);
    })
    .catch((error) => say(error.message));
}
