// One sweep: where it stands, its trials as a table and as marks, what matters, and what steers it.

import { attempt, call } from "./api.js";
import { deleteAfterAsking } from "./deletion.js";
import { badge, byId, confirmed, h, pageState, replaceIfOther, svg } from "./dom.js";
import { duration, figure, whole, words } from "./format.js";
import { mark, scatter } from "./scatter.js";
import { flat, settingsTable } from "./specs.js";

const LOOK_MILLISECONDS = 3000;
const TERMINAL = new Set(["succeeded", "failed", "cancelled"]);
const ACTIONS = {
  pause: { name: "Pause", when: new Set(["running"]) },
  resume: { name: "Resume", when: new Set(["paused"]) },
  cancel: { name: "Cancel", when: new Set(["running", "pausing", "paused"]) },
  delete: { name: "Delete", when: TERMINAL },
};
const DANGEROUS = new Set(["cancel", "delete"]);
const MARKS = { best: "the best", complete: "complete", pruned: "pruned, by its last rung", failed: "failed", running: "running" };

let { sweep } = pageState();
const { spec } = sweep;
const address = `/v1/sweeps/${sweep.id}`;
const paths = Object.keys(spec.search);
const sorting = { key: "number", descending: false };

// ---- trials, as every part of the page reads them

// What a trial was worth, as far as it is known: its mean, or what it had at its last rung.
function scoreOf({ mean, rung_scores: rungs }) {
  const shares = Object.keys(rungs).sort((one, other) => other - one);
  return mean ?? (shares.length ? rungs[shares[0]] : null);
}

const isBest = ({ number }) => sweep.best?.number === number;
const kindOf = (trial) => (isBest(trial) ? "best" : trial.state);
const told = (value) => (typeof value === "number" ? figure(value) : typeof value === "string" ? value : JSON.stringify(value));
const score = ({ mean, standard_deviation: deviation }) => (deviation === null ? figure(mean) : `${figure(mean)} ± ${figure(deviation)}`);

// A path's last names are enough where no other path ends in them.
function short(path) {
  const names = path.split(".");
  for (let size = 1; size < names.length; size += 1) {
    const end = names.slice(-size).join(".");
    if (paths.filter((other) => other === end || other.endsWith(`.${end}`)).length === 1) return words(end);
  }
  return words(path);
}

// ---- the sweep as a whole

function show() {
  byId("status").replaceChildren(badge(sweep.status));
  showReason();
  showActions();
  showFigures();
  showCharts();
  showBest();
  showImportance();
  showTrials();
}

function showReason() {
  const reason = byId("reason");
  if (reason.textContent !== sweep.reason) reason.textContent = sweep.reason;
  reason.classList.toggle("bad", sweep.status === "failed");
  reason.classList.toggle("warn", sweep.status !== "failed" && sweep.error !== null);
}

function showActions() {
  const links = [
    sweep.model_id && h("a", { class: "button primary", href: `/models/${sweep.model_id}` }, "Open the model"),
    sweep.final_job_id && h("a", { class: "button", href: `/jobs/${sweep.final_job_id}` }, "The final job"),
  ];
  const buttons = Object.entries(ACTIONS)
    .filter(([, { when }]) => when.has(sweep.status))
    .map(([action, { name }]) => h("button", { type: "button", "data-action": action, class: DANGEROUS.has(action) ? "danger" : null }, name));
  replaceIfOther(byId("actions"), [...links.filter(Boolean), ...buttons]);
}

byId("actions").addEventListener("click", async ({ target }) => {
  const { action } = target.dataset;
  if (!action) return;
  if (action === "delete") {
    await deleteAfterAsking(target, { what: "sweep", address, home: "/sweeps" });
    return;
  }
  const warned = ["It stops for good with all its jobs, which keep their checkpoints."];
  if (action === "cancel" && !(await confirmed("Cancel this sweep?", warned, "Cancel the sweep"))) return;
  await attempt(target, async () => {
    sweep = await call("POST", `${address}/${action}`);
    show();
  });
});

function showFigures() {
  const { trials_by_state: states, num_trials: all, best, steps, seconds } = sweep;
  const begun = Object.values(states).reduce((sum, one) => sum + one, 0);
  const ended = begun - (states.running ?? 0);
  byId("trials").replaceChildren(whole(ended), h("small", {}, ` / ${whole(all)}`));
  byId("done").value = ended;
  byId("states").textContent = Object.entries(states).map(([state, number]) => `${whole(number)} ${state}`).join(", ") || "none has begun";
  byId("best").textContent = best ? figure(best.mean) : "–";
  byId("best-at").textContent = best ? `trial ${best.number}${best.standard_deviation === null ? "" : `, ± ${figure(best.standard_deviation)}`}` : `${spec.objective.goal === "maximize" ? "more" : "less"} is better`;
  byId("steps").textContent = whole(steps);
  byId("time").textContent = duration(seconds);
  const { steps: mostSteps, minutes } = spec.budget ?? {};
  byId("steps-more").textContent = mostSteps ? `of ${whole(mostSteps)} in the budget` : "of all jobs together";
  byId("time-more").textContent = minutes ? `of ${duration(minutes * 60)} in the budget` : "of all jobs together";
  if (mostSteps) byId("steps-spent").value = steps;
  if (minutes) byId("time-spent").value = seconds;
}

// ---- what the trials say

function showCharts() {
  const kinds = new Set(sweep.trials.map(kindOf));
  byId("marks").replaceChildren(
    ...Object.entries(MARKS).filter(([kind]) => kinds.has(kind)).map(([kind, name]) =>
      h("span", {}, svg("svg", { viewBox: "-11 -8 22 16", "aria-hidden": "true" }, mark(kind)), name)));
  // The best lies on top.
  const trials = [...sweep.trials].sort((one, other) => isBest(one) - isBest(other));
  byId("charts").replaceChildren(
    ...paths.map((path) => {
      const points = trials.map((trial) => ({ x: trial.parameters[path], score: scoreOf(trial), kind: kindOf(trial), title: titleOf(trial, path) }));
      const drawn = scatter(short(path), points, axisOf(spec.search[path]), { log: byId("log").checked });
      return h("figure", { class: "chart" }, h("figcaption", { title: path }, short(path)), drawn);
    }));
}

const titleOf = (trial, path) => `trial ${trial.number}: ${told(trial.parameters[path])}, ${trial.state}, ${figure(scoreOf(trial))}`;

const axisOf = ({ type, low, high, choices }) => (choices ? { choices } : { low, high, log: type.startsWith("log") });

function showBest() {
  const { best } = sweep;
  if (!best) {
    byId("best-trial").replaceChildren(h("p", { class: "body muted small" }, "No trial is complete yet."));
    return;
  }
  const rows = [["score", score(best)], ...paths.map((path) => [h("span", { title: path }, short(path)), told(best.parameters[path])])];
  byId("best-trial").replaceChildren(
    h("table", { class: "facts" }, h("caption", { class: "hidden-text" }, `Trial ${best.number}, the best`),
      h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value))))),
    h("p", { class: "body" }, h("a", { class: "button", href: `/jobs/new?sweep=${sweep.id}&trial=${best.number}` }, "New job with these")));
}

function showImportance() {
  const shares = Object.entries(sweep.importance ?? {}).sort(([, one], [, other]) => other - one);
  if (!shares.length) {
    byId("importance").replaceChildren(h("p", { class: "muted small" }, "Told from eight complete trials on: what share of the difference between good and other trials is each parameter's."));
    return;
  }
  byId("importance").replaceChildren(
    h("div", { class: "bars" }, shares.flatMap(([path, share]) => [
      h("span", { title: path }, short(path)), h("meter", { min: 0, max: 1, value: share, "aria-label": `Importance of ${short(path)}` }), h("span", { class: "number" }, `${Math.round(100 * share)} %`),
    ])));
}

// ---- the table

const COLUMNS = [
  { key: "number", name: "Trial", value: ({ number }) => number },
  { key: "state", name: "State", value: ({ state }) => state },
  { key: "score", name: words(spec.objective.metric), number: true, value: ({ mean }) => mean },
  ...paths.map((path) => ({ key: path, name: short(path), title: path, number: true, value: ({ parameters }) => parameters[path] })),
  { key: "step", name: "Steps", number: true, value: ({ step }) => step },
];

function showHead() {
  const heads = COLUMNS.map(({ key, name, number, title }) => {
    const sorted = sorting.key === key && (sorting.descending ? "descending" : "ascending");
    const arrow = sorted && h("span", { "aria-hidden": "true" }, sorting.descending ? " ↓" : " ↑");
    return h("th", { scope: "col", class: number ? "number" : null, "aria-sort": sorted, title }, h("button", { type: "button", class: "sort", "data-key": key }, name, arrow));
  });
  byId("trials-head").replaceChildren(h("tr", {}, heads, h("th", { scope: "col" }, spec.folds ? "Jobs of the folds" : "Job")));
}

byId("trials-head").addEventListener("click", ({ target }) => {
  const key = target.closest("[data-key]")?.dataset.key;
  if (key === undefined) return;
  sorting.descending = sorting.key === key && !sorting.descending;
  sorting.key = key;
  showHead();
  showTrials();
  byId("trials-head").querySelector(`[data-key="${CSS.escape(key)}"]`).focus();
});

// What has no value comes last either way.
function inOrder() {
  const { value } = COLUMNS.find(({ key }) => key === sorting.key);
  const factor = sorting.descending ? -1 : 1;
  const compared = (one, other) => (typeof one === "number" && typeof other === "number" ? one - other : told(one).localeCompare(told(other)));
  return [...sweep.trials].sort((one, other) => {
    const [mine, others] = [value(one), value(other)];
    if (mine === null || others === null) return (mine === null) - (others === null);
    return factor * compared(mine, others);
  });
}

function showTrials() {
  const rows = inOrder().map((trial) =>
    h("tr", { class: isBest(trial) ? "differs" : null },
      h("th", { scope: "row" }, trial.number, isBest(trial) && h("span", { class: "tag" }, "best")),
      h("td", {}, badge(trial.state), trial.error && h("div", { class: "under" }, trial.error.message)),
      h("td", { class: "number nowrap" }, score(trial)),
      paths.map((path) => h("td", { class: "number" }, told(trial.parameters[path]))),
      h("td", { class: "number" }, whole(trial.step), Object.entries(trial.rung_scores).map(([share, at]) => h("div", { class: "under nowrap" }, `at ${figure(Number(share))}: ${figure(at)}`))),
      h("td", {}, h("div", { class: "tags" }, trial.folds.map((fold) => jobLink(trial, fold))))));
  byId("trials-rows").replaceChildren(...rows, ...(rows.length ? [] : [h("tr", {}, h("td", { colspan: COLUMNS.length + 1, class: "muted" }, "A trainer begins the first trials."))]));
}

function jobLink({ number }, { fold, job_id: id, status, score: scored }) {
  const name = spec.folds ? `fold ${fold + 1} of trial ${number}` : `trial ${number}`;
  return h("a", { href: `/jobs/${id}`, "aria-label": `Job of ${name}, ${status}`, title: status }, scored === null ? status : spec.folds ? figure(scored) : "job");
}

// ---- and as it goes on

async function look() {
  if (document.hidden || TERMINAL.has(sweep.status)) return;
  const before = JSON.stringify(sweep);
  const found = await call("GET", address).catch(() => sweep);
  if (JSON.stringify(found) === before) return;
  sweep = found;
  show();
}

byId("log").addEventListener("change", showCharts);
byId("spec").replaceChildren(settingsTable([["This sweep", flat(spec)]], { onlyDiffering: false, caption: "Specification" }));
showHead();
show();
setInterval(look, LOOK_MILLISECONDS);
document.addEventListener("visibilitychange", look);
