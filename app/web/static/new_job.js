// A new job: the form of its method, what it would come to, and the same job by hand.

import { attempt, call, refusal, signIn } from "./api.js";
import { byId, copyable, h, pageState, settled } from "./dom.js";
import { bytes, count, duration, whole, words } from "./format.js";
import { SchemaForm, said, same } from "./schema_form.js";

const state = pageState();
const { methods, datasets, models, jobs, covers } = state;
const PAUSE_MILLISECONDS = 400;
// What most people change; the rest stands behind a fold.
const FIRST = ["duration", "batch_size", "optimizer", "schedule"];

const wanted = state.filled?.spec ?? { kind: state.parent ? "finetune" : null, parent: state.parent, dataset: state.dataset, checkpoint: state.checkpoint };
const schemas = new Map();
let current = null; // the method's form: {method, schema, form, read}

// ---- what is trained, on what

const controls = {
  method: h("select", { id: "what-method" }),
  name: h("input", { id: "what-name", maxlength: 200, value: wanted.name ?? "" }),
  parent: h("select", { id: "what-parent", "data-path": "parent" }),
  checkpoint: h("input", { id: "what-checkpoint", value: wanted.checkpoint ?? "", placeholder: "its model", "data-path": "checkpoint" }),
  dataset: h("select", { id: "what-dataset", "data-path": "dataset" }),
};
const hints = Object.fromEntries(Object.keys(controls).map((name) => [name, h("p", { class: "hint" })]));

const field = (name, label) =>
  h("div", { class: "field" }, h("label", { for: controls[name].id }, label), controls[name], hints[name], h("p", { class: "wrong" }));

const fields = {
  method: field("method", "Method"),
  name: field("name", "Name"),
  parent: field("parent", "Start from"),
  checkpoint: field("checkpoint", "Checkpoint"),
  dataset: field("dataset", "Data set"),
};
byId("what").append(fields.method, h("div", { class: "columns" }, fields.parent, fields.checkpoint, fields.dataset, fields.name));

const keyOf = ({ kind, type }) => `${kind}/${type}`;
const chosenMethod = () => methods.find((method) => keyOf(method) === controls.method.value);
const fits = (kindWanted, kind) => (covers[kindWanted] ?? [kindWanted]).includes(kind);

function showMethods() {
  const groups = { pretrain: "Pretrain", finetune: "Fine-tune" };
  controls.method.replaceChildren(
    ...Object.entries(groups).map(([kind, label]) =>
      h("optgroup", { label }, methods.filter((method) => method.kind === kind).map((method) => h("option", { value: keyOf(method) }, `${words(method.type)}${kind === "finetune" ? " (fine-tune)" : ""}`)))),
  );
  const start = wanted.method
    ? methods.find((method) => method.kind === wanted.kind && method.type === wanted.method.type)
    : methods.find(isPossible) ?? methods.find(({ kind }) => kind === wanted.kind);
  if (start) controls.method.value = keyOf(start);
}

// A method for the data set and the parent that the address names.
function isPossible(method) {
  if (wanted.kind && method.kind !== wanted.kind) return false;
  if (!wanted.kind && method.kind !== "pretrain" && !isLabelled()) return false;
  if (wanted.parent && !parentNamed(method, wanted.parent)) return false;
  const dataset = datasets.find(({ id }) => id === wanted.dataset);
  return !dataset || Object.values(method.dataset_kinds).some((kind) => kind === dataset.kind);
}

const isLabelled = () => Boolean(datasets.find(({ id, kind }) => id === wanted.dataset && /label|scored|tagged|roles|instruct/.test(kind)));

// Models and unfinished jobs that a fine-tune can start from: {value, label, input}.
function parentsOf({ parents, dataset_kinds: kinds }) {
  if (!parents) return [];
  const isTaken = ({ method }) => parents.methods?.includes(method) ?? true;
  const ofModels = models
    .filter(({ input, granularity }) => parents.inputs.includes(input) && parents.granularities.includes(granularity))
    .filter(isTaken)
    .map((model) => ({ value: model.id, input: model.input, label: `${model.aliases[0] ?? model.name ?? words(model.method)} (${words(model.method)}, ${model.id.slice(-6)})`, job: model.job_id, aliases: model.aliases }));
  const ofJobs = jobs
    .filter(isTaken)
    .map((job) => ({ value: job.id, input: inputOf(job), label: `${job.name ?? words(job.method)} (${job.status} job, ${job.id.slice(-6)})` }))
    .filter(({ input }) => input in kinds);
  return [...ofModels, ...ofJobs];
}

// By its own id, by one of its aliases, or by the job that made it.
const parentNamed = (method, name) =>
  parentsOf(method).find(({ value, job, aliases = [] }) => value === name || job === name || aliases.includes(name));

function inputOf(job) {
  const method = methods.find(({ kind, type }) => kind === job.kind && type === job.method);
  const dataset = datasets.find(({ id }) => id === job.dataset_id);
  return Object.entries(method?.dataset_kinds ?? {}).find(([, kind]) => dataset && fits(kind, dataset.kind))?.[0];
}

function showParents(method) {
  const found = parentsOf(method);
  const before = controls.parent.value || wanted.parent;
  fields.parent.hidden = fields.checkpoint.hidden = !method.parents;
  const known = before && parentNamed(method, before);
  const options = found.map(({ value, label }) => h("option", { value }, label));
  if (before && before !== known?.value) options.unshift(h("option", { value: before }, known ? `${before}: ${known.label}` : before));
  controls.parent.replaceChildren(...options);
  if (before) controls.parent.value = before;
  hints.parent.replaceChildren(found.length || !method.parents ? "" : `No model fits: pretrain one on ${Object.keys(method.dataset_kinds).join(" or ")} first.`);
}

function showDatasets(method) {
  const parent = parentNamed(method, controls.parent.value);
  const kinds = parent ? [method.dataset_kinds[parent.input]] : Object.values(method.dataset_kinds);
  const fitting = datasets.filter(({ kind }) => kinds.some((one) => fits(one, kind)));
  const before = controls.dataset.value || wanted.dataset;
  const options = fitting.map(({ id, name, kind, num_examples: examples }) => h("option", { value: id }, `${name} (${words(kind)}${examples > 1 ? `, ${count(examples)}` : ""})`));
  if (before && !fitting.some(({ id }) => id === before) && datasets.every(({ id }) => id !== before)) options.unshift(h("option", { value: before }, before));
  controls.dataset.replaceChildren(...options);
  if (before && [...controls.dataset.options].some(({ value }) => value === before)) controls.dataset.value = before;
  const told = `It takes ${kinds.map(words).join(" or ")}.`;
  hints.dataset.replaceChildren(fitting.length ? told : `${told} None is there: `, fitting.length ? "" : h("a", { href: "/datasets" }, "upload one"));
}

// ---- its settings

async function showMethod() {
  const method = chosenMethod();
  hints.method.textContent = method.description;
  showParents(method);
  showDatasets(method);
  if (!schemas.has(method.schema_url)) schemas.set(method.schema_url, await call("GET", method.schema_url));
  if (chosenMethod() !== method) return;
  build(method, schemas.get(method.schema_url));
  changed();
}

function build(method, schema) {
  const form = new SchemaForm(schema, { "training.validation_dataset": validationDataset });
  const start = wanted.method?.type === method.type && wanted.kind === method.kind ? wanted : {};
  const node = (name) => form.resolved(schema.properties[name]);
  const methodNode = node("method");
  const methodDefaults = Object.fromEntries(Object.entries(methodNode.properties).map(([name, inner]) => [name, form.resolved(inner).default]));
  const methodNames = Object.keys(methodNode.properties).filter((name) => name !== "type");
  const trainingNames = Object.keys(node("training").properties);
  const rest = trainingNames.filter((name) => !FIRST.includes(name));

  const ofMethod = form.parts(methodNode, start.method ?? methodDefaults, "method", methodNames);
  const training = start.training ?? schema.properties.training.default;
  const first = form.parts(node("training"), training, "training", FIRST);
  const folded = form.parts(node("training"), training, "training", rest);
  const otherNames = ["strategy", "resources", "priority", "metadata"].filter((name) => name in schema.properties);
  const metadata = { ...(start.metadata ?? {}), ...(state.filled?.metadata ?? {}) };
  const others = Object.fromEntries(otherNames.map((name) => [name, start[name] ?? node(name).default]));
  const other = form.parts({ properties: schema.properties }, { ...others, metadata }, "", otherNames);

  byId("method").replaceChildren(...(ofMethod.elements.length ? [h("div", { class: "columns" }, ofMethod.elements)] : [h("p", { class: "muted" }, "It has no settings of its own.")]));
  byId("training").replaceChildren(h("div", { class: "columns" }, first.elements), h("details", {}, h("summary", {}, "More"), h("div", { class: "columns gap-above" }, folded.elements)));
  byId("other").replaceChildren(h("div", { class: "columns" }, other.elements));
  current = {
    method,
    schema,
    form,
    read: () => ({ method: { type: method.type, ...ofMethod.read() }, training: { ...first.read(), ...folded.read() }, ...other.read() }),
  };
}

function validationDataset(form, path, value) {
  const control = h("select", {}, h("option", { value: "" }, "a part of the data set"), datasets.map(({ id, name }) => h("option", { value: id, selected: id === value }, name)));
  return form.labelled(control, path, { hint: null, read: () => control.value || null });
}

// As short as it can be said: what is left out has its default.
function bodyOf({ method, schema, form, read }) {
  const values = read();
  const body = { kind: method.kind };
  if (controls.name.value.trim()) body.name = controls.name.value.trim();
  if (method.parents) {
    body.parent = controls.parent.value;
    if (controls.checkpoint.value.trim()) body.checkpoint = controls.checkpoint.value.trim();
  }
  body.dataset = controls.dataset.value;
  body.method = methodSaid(schema, form, values.method);
  const training = trainingSaid(schema, form, values.training);
  if (Object.keys(training).length) body.training = training;
  for (const name of ["strategy", "resources", "priority", "metadata"]) {
    if (!(name in values) || same(values[name], schema.properties[name].default)) continue;
    body[name] = name === "strategy" ? values[name] : said(form, schema.properties[name], values[name], schema.properties[name].default);
  }
  return body;
}

function methodSaid(schema, form, values) {
  const { properties } = form.resolved(schema.properties.method);
  const told = { type: values.type };
  for (const [name, node] of Object.entries(properties)) {
    if (name === "type") continue;
    const default_ = form.resolved(node).default;
    const one = saidOfUnion(form, node, values[name], default_);
    if (one !== undefined) told[name] = one;
  }
  return told;
}

// Where a key of `training` is left out, the method's own default holds, and so does it within optimizer and schedule.
function trainingSaid(schema, form, values) {
  const { properties } = form.resolved(schema.properties.training);
  const defaults = schema.properties.training.default;
  const told = {};
  for (const [name, node] of Object.entries(properties)) {
    if (same(values[name], defaults[name])) continue;
    const merged = ["optimizer", "schedule"].includes(name) && values[name].type === defaults[name].type;
    told[name] = merged
      ? Object.fromEntries(Object.entries(values[name]).filter(([key, value]) => !same(value, defaults[name][key])))
      : saidOfUnion(form, node, values[name], defaults[name]);
  }
  return told;
}

// A variant of a union always tells its type.
function saidOfUnion(form, node, value, silent) {
  const union = form.resolved(node);
  if (!union.oneOf) return said(form, node, value, silent);
  if (same(value, silent)) return undefined;
  const key = union.discriminator.propertyName;
  const variant = { $ref: union.discriminator.mapping[value[key]] };
  return { [key]: value[key], ...said(form, variant, value, value[key] === silent?.[key] ? silent : undefined) };
}

// ---- what it would come to, and the same by hand

const changed = settled(() => {
  if (!current) return;
  const body = bodyOf(current);
  showSame(body);
  estimate(body);
}, PAUSE_MILLISECONDS);

let asking = null;

async function estimate(body) {
  asking?.abort();
  clearRefusals();
  const missing = !body.dataset ? "Choose a data set." : current.method.parents && !body.parent ? "Choose a model to start from." : null;
  byId("submit").disabled = Boolean(missing);
  if (missing) {
    byId("estimate").replaceChildren(h("p", { class: "muted" }, missing));
    return;
  }
  asking = new AbortController();
  try {
    showEstimate(await call("POST", "/v1/jobs/estimate", body, { signal: asking.signal }));
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("submit").disabled = true;
    showRefusal(error);
  }
}

function showEstimate(found) {
  const about = (name) => (found.approximate.includes(name) ? "about " : "");
  const rows = [
    ["parameters", about("num_parameters") + count(found.num_parameters)],
    ["memory", about("memory_bytes") + bytes(found.memory_bytes)],
    ["disk, at most", about("disk_bytes") + bytes(found.disk_bytes)],
    ["steps", about("total_steps") + whole(found.total_steps)],
    found.total_tokens !== null && ["tokens", about("total_tokens") + count(found.total_tokens)],
    ...(found.trial_steps ? [["trials", `${about("trial_steps")}${whole(found.trial_steps)} steps more at most`]] : []),
    ...Object.entries(found.estimated_seconds).map(([device, seconds]) => [`time on ${device}`, about("estimated_seconds") + duration(seconds)]),
  ].filter(Boolean);
  byId("estimate").replaceChildren(
    h("table", { class: "facts" }, h("caption", { class: "hidden-text" }, "Estimate"), h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value))))),
    ...found.warnings.map((warning) => h("p", { class: "note warn" }, warning)),
  );
}

function clearRefusals() {
  for (const control of document.querySelectorAll("[data-path][aria-invalid]")) {
    control.removeAttribute("aria-invalid");
    control.closest(".field")?.querySelector(".wrong")?.replaceChildren();
  }
}

// Each error beside its control; those that have none, and the whole, in the estimate.
function showRefusal({ message, problem }) {
  const homeless = (problem?.errors ?? []).filter(({ location, message: text }) => {
    const control = document.querySelector(`[data-path="${CSS.escape(location)}"]`);
    const place = control?.closest(".field")?.querySelector(".wrong");
    control?.setAttribute("aria-invalid", "true");
    place?.replaceChildren(text);
    control?.closest("details")?.setAttribute("open", "");
    return !place;
  });
  const told = homeless.map(({ location, message: text }) => h("p", { class: "small" }, h("strong", {}, location), ` ${text}`));
  byId("estimate").replaceChildren(h("div", { class: "note bad" }, h("p", {}, message), homeless.length > 1 && told));
}

function showSame(body) {
  const json = JSON.stringify(body);
  const key = state.has_key ? ' \\\n  -H "Authorization: Bearer $PRETUNE_API_KEY"' : "";
  const curl = `curl ${location.origin}/v1/jobs${key} \\\n  --json '${json.replaceAll("'", "'\\''")}'`;
  byId("same").replaceChildren(
    h("h3", {}, "curl"), copyable(curl, "curl"),
    h("h3", {}, "Command line"), copyable(`pretune submit -f job.json --url ${location.origin}`, "Command line"),
    h("h3", {}, "job.json"), copyable(JSON.stringify(body, null, 2), "job.json"),
  );
}

// ---- and go

const form = byId("job");
const submitted = new Map(); // body -> idempotency key

// A second press of the button means the same job, another body another one.
function keyOfBody(body) {
  const random = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0"));
  if (!submitted.has(body)) submitted.set(body, random.join(""));
  return submitted.get(body);
}

form.addEventListener("input", changed);
form.addEventListener("change", changed);
controls.method.addEventListener("change", showMethod);
controls.parent.addEventListener("change", () => showDatasets(chosenMethod()));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  await attempt(byId("submit"), async () => {
    const body = JSON.stringify(bodyOf(current));
    const headers = { "Content-Type": "application/json", "Idempotency-Key": keyOfBody(body) };
    const response = await fetch("/v1/jobs", { method: "POST", body, headers });
    if (response.status === 401) signIn();
    if (response.ok) {
      location.assign(`/jobs/${(await response.json()).id}`);
      return;
    }
    const refused = await refusal(response);
    showRefusal(refused);
    throw refused;
  });
});

showMethods();
showMethod();
