// One job, as it goes. The page came with the job's view; what follows arrives as events.

import { attempt, call, say } from "./api.js";
import { isOpen, showAuto } from "./auto.js";
import { Chart } from "./chart.js";
import { deleteAfterAsking } from "./deletion.js";
import { badge, byId, confirmed, framed, h, pageState, replaceIfOther } from "./dom.js";
import { bytes, clock, count, duration, figure, whole, words } from "./format.js";
import { lowest, smoothed, told } from "./series.js";
import { flat, settingsTable } from "./specs.js";
import { EventStream } from "./stream.js";

const MAX_POINTS = 2000;
const MAX_EVENTS = 1000;
const ANSWERS = "predictions.jsonl";
const PARTS = ["predictions/", "units/"];
const OVERFITTING = "overfitting-report.json";
const VERDICTS = { overfits: "It overfits", does_not_overfit: "It does not overfit", still_learning: "It is still learning", not_judged: "Not judged" };
const REFRESH_MILLISECONDS = 1000;
const LOSSES = { train_loss: "train", validation_loss: "validation" };
const TERMINAL = new Set(["succeeded", "failed", "cancelled"]);
const ACTIONS = {
  pause: { name: "Pause", when: new Set(["queued", "running"]) },
  resume: { name: "Resume", when: new Set(["paused"]) },
  retry: { name: "Retry", when: new Set(["failed", "cancelled"]) },
  cancel: { name: "Cancel", when: new Set(["waiting", "queued", "running", "pausing", "paused"]) },
  delete: { name: "Delete", when: TERMINAL },
};
const DANGEROUS = new Set(["cancel", "delete"]);

const state = pageState();
let { job, checkpoints, artifacts } = state;
const address = `/v1/jobs/${job.id}`;
const trains = ["pretrain", "finetune"].includes(job.kind);
const evaluates = job.kind === "evaluate";
const series = new Map();
const lossChart = new Chart(byId("loss"), "Loss");
const otherChart = new Chart(byId("others"), "Measure", 180);
const stream = new EventStream(job.id, state.last_event_id, { onEvent, onLive });

// ---- what the job is

function showJob() {
  byId("status").replaceChildren(badge(job.status));
  showActions();
  showNotes();
  showFigures();
  showSpec();
  byId("auto-panel").hidden = !showAuto(byId("auto"), job);
  byId("resolved").replaceChildren(job.resolved ? factsTable("Resolved", job.resolved) : nothing("The first attempt decides them, once the data are read."));
}

function showActions() {
  const buttons = Object.entries(ACTIONS)
    .filter(([, { when }]) => when.has(job.status))
    .map(([action, { name }]) => h("button", { type: "button", "data-action": action, class: DANGEROUS.has(action) ? "danger" : null }, name));
  const links = [
    job.model_id && h("a", { class: "button primary", href: `/models/${job.model_id}` }, "Open the model"),
    artifacts.some(({ name }) => name === ANSWERS) && h("a", { class: "button primary", href: `${address}/artifacts/${ANSWERS}`, download: true }, "Download the answers"),
    evaluates && job.status === "succeeded" && h("a", { class: "button primary", href: `/evaluations/${job.id.replace("job_", "eval_")}` }, "Open the evaluation"),
    trains && !["failed", "cancelled"].includes(job.status) && h("a", { class: "button", href: `/jobs/new?parent=${job.id}` }, "Fine-tune this"),
    trains && h("a", { class: "button", href: `/jobs/new?clone=${job.id}` }, "Clone"),
  ];
  replaceIfOther(byId("actions"), [...links.filter(Boolean), ...buttons]);
}

byId("actions").addEventListener("click", async ({ target }) => {
  const { action } = target.dataset;
  if (!action) return;
  if (action === "delete") {
    await deleteAfterAsking(target, { what: "job", address, home: "/" });
    return;
  }
  const told = ["It stops for good and keeps what it has done. It can be retried from there."];
  if (action === "cancel" && !(await confirmed("Cancel this job?", told, "Cancel the job"))) return;
  await attempt(target, async () => {
    job = await call("POST", `${address}/${action}`);
    byId("actions").replaceChildren();
    showJob();
    follow();
  });
});

function showNotes() {
  const notes = [];
  if (job.error) {
    const held = job.status === "queued";
    const fault = held ? "It waits, and starts by itself." : job.error.fault === "user" ? "The request or its data are at fault: mend them and clone the job." : "The machine is at fault, not the request: retry the job.";
    notes.push(
      h("div", { class: held ? "note warn" : "note bad" }, h("p", {}, h("strong", {}, words(job.error.code)), ` — ${job.error.message}`),
        h("p", { class: "small muted" }, `${fault} `, h("a", { href: `/errors/${job.error.code}` }, "About this error"))),
    );
  }
  if (job.status === "waiting") notes.push(h("p", { class: "note" }, "It waits for its parent to finish."));
  if (job.waiting_reason) notes.push(h("p", { class: "note warn" }, job.waiting_reason));
  if (job.queue_position) notes.push(h("p", { class: "note" }, `It is number ${job.queue_position} in the queue. `, h("a", { href: "/workers" }, "Which workers are alive?")));
  if (job.attempt > 1) notes.push(h("p", { class: "note warn" }, `This is attempt ${job.attempt}: it went on from what was kept last.`));
  byId("notes").replaceChildren(...notes);
  byId("notes").style.marginBottom = notes.length ? "1rem" : "0";
}

function showFigures() {
  const { step, total_steps: total, fraction, eta_seconds: eta, examples_per_second: examples, steps_per_second: steps, tokens_per_second: tokens } = job.progress;
  byId("progress").replaceChildren(whole(step), total ? h("small", {}, ` / ${whole(total)}`) : "");
  if (fraction === null && job.status === "running") byId("bar").removeAttribute("value");
  else byId("bar").value = fraction ?? 0;
  byId("eta").textContent = remaining(eta);
  const train = series.get("train_loss") ?? [];
  byId("train").textContent = figure(job.metrics.train_loss);
  byId("train-from").textContent = train.length > 1 ? `from ${figure(train[0][1])} at step ${whole(train[0][0])}` : "";
  const best = lowest(series.get("validation_loss") ?? []);
  byId("best").textContent = best ? figure(best[1]) : "–";
  byId("best-at").textContent = best ? `step ${whole(best[0])}` : "no evaluation yet";
  if (byId("refused")) byId("refused").textContent = figure(job.metrics.errors);
  const rate = steps || meanRate();
  byId("rate").replaceChildren(rate ? rate.toLocaleString("en", { maximumSignificantDigits: 3 }) : "–", rate ? h("small", {}, trains ? " steps/s" : " records/s") : "");
  byId("rate-more").textContent = tokens ? `${count(tokens)} tokens/s` : examples ? (trains ? `${count(examples)} examples/s` : "") : rate ? "on average" : "";
}

const secondsTaken = () => (new Date(job.finished_at) - new Date(job.started_at)) / 1000;

// Of a job that has ended; null while it runs.
const meanRate = () => (job.started_at && job.finished_at && job.progress.step / secondsTaken()) || null;

function remaining(eta) {
  if (job.status === "running" && eta !== null) return `about ${duration(eta)} left`;
  if (job.started_at && job.finished_at) return `took ${duration(secondsTaken())}`;
  if (job.status !== "running") return "";
  return job.progress.phase === "trials" ? "making trials for what is auto" : "preparing the data";
}

function showSpec() {
  const columns = [["This job", flat(job.spec)]];
  const { against } = state;
  if (against) columns.push([h("a", { href: `/jobs/${against.id}` }, against.name ?? words(against.method)), flat(against.spec)]);
  byId("changed").parentElement.hidden = !against;
  byId("spec").replaceChildren(settingsTable(columns, { onlyDiffering: against && byId("changed").checked, caption: "Specification" }));
}

const nothing = (text) => h("p", { class: "body muted small" }, text);

const factsTable = (caption, facts) =>
  h("table", { class: "facts" }, h("caption", { class: "hidden-text" }, caption),
    h("tbody", {}, Object.entries(flat(facts)).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, words(name)), h("td", {}, value)))));

// ---- what it leaves

function showCheckpoints() {
  if (!checkpoints.length) {
    byId("checkpoints").replaceChildren(nothing("None yet. Each can become a model, or the start of a fine-tune."));
    return;
  }
  const rows = [...checkpoints].reverse().map((one) =>
    h("tr", {},
      h("td", {}, h("div", {}, `step ${whole(one.step)} `, one.is_best && h("span", { class: "tag" }, "best"), " ", one.is_last && h("span", { class: "tag" }, "last")),
        h("div", { class: "under" }, one.metrics.validation_loss === undefined ? bytes(one.size_bytes) : `loss ${figure(one.metrics.validation_loss)}, ${bytes(one.size_bytes)}`),
        h("div", { class: "actions gap-above" },
          one.model_id
            ? h("a", { class: "button small", href: `/models/${one.model_id}`, "aria-label": `Model of step ${one.step}` }, "Model")
            : h("button", { type: "button", class: "small", "data-promote": one.step, "aria-label": `Promote step ${one.step} to a model` }, "Promote"),
          h("a", { class: "button small", href: `/jobs/new?parent=${job.id}&checkpoint=step:${one.step}`, "aria-label": `Fine-tune from step ${one.step}` }, "Fine-tune")))));
  byId("checkpoints").replaceChildren(h("table", {}, h("caption", { class: "hidden-text" }, "Checkpoints, the newest first"), h("tbody", {}, rows)));
}

byId("checkpoints").addEventListener("click", async ({ target }) => {
  if (!target.dataset.promote) return;
  const model = await attempt(target, () => call("POST", `${address}/checkpoints/${target.dataset.promote}/promote`));
  if (model) location.assign(`/models/${model.id}`);
});

function showArtifacts() {
  const parts = artifacts.filter(({ name }) => PARTS.some((folder) => name.startsWith(folder)));
  const rows = artifacts.filter((one) => !parts.includes(one)).map((one) =>
    h("tr", {}, h("td", { class: "wrap" }, h("a", { href: `${address}/artifacts/${encodeURIComponent(one.name)}`, download: true }, one.name)), h("td", { class: "number nowrap" }, bytes(one.size_bytes))));
  if (parts.length) {
    const size = parts.reduce((sum, one) => sum + one.size_bytes, 0);
    rows.push(h("tr", {}, h("td", {}, `${evaluates ? "what is judged" : "the answers"} so far, in ${whole(parts.length)} parts`), h("td", { class: "number nowrap" }, bytes(size))));
  }
  byId("artifacts").replaceChildren(rows.length ? h("table", {}, h("caption", { class: "hidden-text" }, "Files"), h("tbody", {}, rows)) : nothing("None yet."));
}

let shownReport = null; // the digest of the one on the page

// Written when an attempt ends.
async function showOverfitting() {
  const file = artifacts.find(({ name }) => name === OVERFITTING);
  if (!file || file.sha256 === shownReport) return;
  shownReport = file.sha256;
  const report = await call("GET", `${address}/artifacts/${OVERFITTING}`);
  const row = (name, { step, train_loss: train, validation_loss: validation, gap }) =>
    h("tr", {}, h("th", { scope: "row" }, name), [whole(step), figure(train), figure(validation), figure(gap)].map((text) => h("td", { class: "number" }, text)));
  const heads = ["Evaluation", "Step", "Train loss", "Validation loss", "Gap"].map((text, place) => h("th", { scope: "col", class: place ? "number" : null }, text));
  const remedies = Object.entries(flat(Object.fromEntries(report.remedies.map(({ field, value }) => [field, value]))));
  byId("overfitting").replaceChildren(
    h("p", { class: `note${report.overfits ? " warn" : ""}` }, h("strong", {}, `${VERDICTS[report.verdict]}. `), report.finding),
    h("p", {}, report.advice),
    ...(report.best ? [h("table", {}, h("caption", { class: "hidden-text" }, "The best evaluation and the last"), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, row("best", report.best), row("last", report.last)))] : []),
    h("p", { class: "small muted" }, remedies.length ? `In force: ${remedies.map((pair) => pair.join(" ")).join(", ")}.` : "No remedy is in force."),
  );
  byId("overfitting-panel").hidden = false;
}

// ---- curves

const showCurves = framed(() => {
  const weight = Number(byId("smoothing").value);
  const lines = Object.entries(LOSSES).flatMap(([name, label], index) => {
    const points = series.get(name) ?? [];
    const line = { name: label, colour: `var(--series-${index + 1})`, dashed: index === 1 };
    if (name !== "train_loss" || weight === 0) return [{ ...line, points }];
    return [{ ...line, points: smoothed(points, weight) }, { ...line, points, raw: true }];
  });
  lossChart.show(lines, { log: byId("log").checked });
  showOthers();
  showFigures();
});

function showOthers() {
  const names = [...series.keys()].filter((name) => !(name in LOSSES)).sort();
  const choice = byId("measure");
  if (names.join() !== [...choice.options].map((option) => option.value).join()) {
    const before = choice.value || "learning_rate";
    choice.replaceChildren(...names.map((name) => h("option", { value: name, selected: name === before }, words(name))));
  }
  const points = series.get(choice.value) ?? [];
  otherChart.label = words(choice.value || "other measures");
  otherChart.show([{ name: words(choice.value), points, colour: "var(--series-1)" }]);
}

async function loadSeries() {
  const { data } = await call("GET", `${address}/metrics?max_points=${MAX_POINTS}`);
  for (const { name, points } of data) {
    const since = (series.get(name) ?? []).filter(([step]) => !points.length || step > points.at(-1)[0]);
    series.set(name, [...points, ...since]);
  }
  showCurves();
}

function addPoints({ step, values }) {
  for (const [name, value] of Object.entries(values)) {
    if (!series.has(name)) series.set(name, []);
    told(series.get(name), step, value);
  }
  if ([...series.values()].some((points) => points.length > 2 * MAX_POINTS)) {
    series.clear();
    loadSeries();
  }
}

byId("smoothing").addEventListener("input", showCurves);
byId("log").addEventListener("change", showCurves);
byId("measure").addEventListener("change", showCurves);
byId("changed").addEventListener("change", showSpec);

// ---- events

function eventText({ type, data }) {
  switch (type) {
    case "status":
      return `${data.status}${data.attempt > 1 ? `, attempt ${data.attempt}` : ""}${data.error ? `: ${data.error.message}` : ""}`;
    case "checkpoint":
      return `checkpoint at step ${whole(data.step)}, ${bytes(data.size_bytes)}${data.is_best ? ", the best so far" : ""}`;
    default:
      return data.message;
  }
}

function addEvent(event) {
  const list = byId("events");
  const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 30;
  const kind = event.type === "warning" || event.data.level === "warning" ? "warning" : event.data.status === "failed" ? "failed" : "";
  list.append(h("li", { class: kind }, h("time", { datetime: event.created_at, "data-told": "clock" }, clock(event.created_at)), h("span", {}, eventText(event))));
  while (list.children.length > MAX_EVENTS) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function onEvent(event) {
  if (event.type === "metrics") {
    addPoints(event.data);
    job.metrics = { ...job.metrics, ...event.data.values };
    job.progress = { ...job.progress, ...event.data.progress };
    showCurves();
    if (!job.resolved || isOpen(job)) refresh();
    return;
  }
  addEvent(event);
  if (event.type === "status") byId("spoken").textContent = `The job is ${event.data.status}.`;
  if (event.type !== "log" || isOpen(job)) refresh();
}

function onLive(live) {
  byId("live").classList.toggle("on", live);
  byId("live").textContent = live ? "live" : TERMINAL.has(job.status) ? "ended" : "not live";
}

let refreshing = null;

// At most once a second, however many events ask for it.
function refresh() {
  refreshing ??= setTimeout(async () => {
    refreshing = null;
    try {
      const [view, kept, files] = await Promise.all([address, `${address}/checkpoints`, `${address}/artifacts`].map((path) => call("GET", path)));
      [job, checkpoints, artifacts] = [view, kept.data, files.data];
    } catch (error) {
      say(error.message);
      return;
    }
    showJob();
    showCheckpoints();
    showArtifacts();
    showOverfitting().catch((error) => say(error.message));
    follow();
  }, REFRESH_MILLISECONDS);
}

// A job that has ended tells no more, until it is retried.
function follow() {
  if (TERMINAL.has(job.status)) stream.close();
  else stream.open();
}

for (const event of state.events) addEvent(event);
byId("events").scrollTop = byId("events").scrollHeight;
showJob();
showCheckpoints();
showArtifacts();
showOverfitting().catch((error) => say(error.message));
onLive(false);
follow();
loadSeries().catch((error) => say(error.message));
