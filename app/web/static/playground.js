// A place to try a model: each method takes and shows what it is about. An unknown method takes and shows JSON.

import { call, refusal } from "./api.js";
import { h } from "./dom.js";
import { figure } from "./format.js";
import { marked, picture } from "./samples.js";

export function playground(model) {
  const trial = model.headless ? embedding : TRIALS[model.method] ?? plainTrial;
  return trial(model, (operation, body, signal) => call("POST", `/v1/models/${model.id}/${operation}`, body, { signal }));
}

// ---- the frame of each: a form, a button, and a place for what comes out

function trialForm(fields, act, { button = "Ask", out = h("div", { class: "gap-above" }) } = {}) {
  const wrong = h("p", { class: "wrong", role: "alert" });
  const submit = h("button", { class: "primary" }, button);
  const stop = h("button", { type: "button", hidden: true }, "Stop");
  const result = h("div", { "aria-live": "polite" }, out);
  const form = h("form", { class: "form" }, fields, h("div", { class: "actions" }, submit, stop), wrong, result);
  let running = null;
  stop.addEventListener("click", () => running?.abort());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    running = new AbortController();
    submit.disabled = true;
    stop.hidden = false;
    wrong.textContent = "";
    try {
      const shown = await act(running.signal);
      if (shown) out.replaceChildren(...[shown].flat());
    } catch (error) {
      if (error.name !== "AbortError") wrong.textContent = error.message;
    } finally {
      submit.disabled = false;
      stop.hidden = true;
    }
  });
  return form;
}

let numbered = 0;

function field(label, control, hint) {
  control.id = `trial-${(numbered += 1)}`;
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, hint && h("p", { class: "hint" }, hint));
}

const textArea = (value, rows = 4) => Object.assign(h("textarea", { rows, spellcheck: "false" }), { value });

const number = (value, attributes) => h("input", { type: "number", value, ...attributes });

// ---- what goes in, as the model's input is

// {element, read}: `read` gives one input as the API takes it, or throws what is wrong with it.
function inputOf(model) {
  switch (model.input.kind) {
    case "features":
      return featuresInput(model);
    case "image":
      return imageInput(model);
    default: {
      const text = textArea("A splendid film.");
      return { element: field("Text", text), read: () => text.value };
    }
  }
}

function featuresInput(model) {
  const [size] = model.input.shape;
  const values = textArea(Array(size).fill(0).join(", "));
  const take = (record) => (values.value = record.features.join(", "));
  const read = () => {
    const parts = values.value.split(/[\s,;]+/).filter(Boolean);
    const features = parts.map(Number);
    const bad = features.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw new Error(`“${parts[bad]}” is no number.`);
    return features;
  };
  return { element: h("div", { class: "form" }, field("Features", values, `${size} numbers`), sampleButton(model, take)), read };
}

function imageInput(model) {
  const [channels, height, width] = model.input.shape;
  const file = h("input", { type: "file", accept: "image/png,image/jpeg" });
  const preview = h("div", { class: "pictures" });
  let chosen = null;
  const show = (image) => {
    chosen = image;
    preview.replaceChildren(picture(image, "The image to ask about"));
  };
  file.addEventListener("change", () => {
    const reader = new FileReader();
    reader.addEventListener("load", () => show(reader.result.split(",")[1]));
    if (file.files[0]) reader.readAsDataURL(file.files[0]);
  });
  const read = () => {
    if (chosen === null) throw new Error("Choose an image first.");
    return chosen;
  };
  const hint = `${width} × ${height} pixels, ${channels} channel${channels === 1 ? "" : "s"}`;
  return { element: h("div", { class: "form" }, field("Image", file, hint), sampleButton(model, ({ image }) => show(image)), preview), read };
}

// Takes the records of the model's own data set, one after the other.
function sampleButton(model, take) {
  const button = h("button", { type: "button", class: "small" }, "Take a record of its data set");
  let records = null;
  let next = 0;
  button.addEventListener("click", async () => {
    try {
      records ??= (await call("GET", `/v1/datasets/${model.dataset_id}/preview?limit=30`)).data;
      take(records[next % records.length]);
      next += 1;
    } catch (error) {
      button.replaceWith(h("p", { class: "hint" }, error.message));
    }
  });
  return h("div", { class: "actions" }, model.dataset_id && button);
}

// ---- what comes out

const bars = (entries) =>
  h("div", { class: "bars" }, entries.flatMap(([label, share]) => [
    h("span", { class: "wrap" }, label),
    h("meter", { min: 0, max: 1, value: share, "aria-label": label }),
    h("span", { class: "number" }, `${(100 * share).toFixed(1)} %`),
  ]));

// A text with its parts marked; `spans` have start and end in characters.
function spanned(text, spans) {
  const parts = [];
  let at = 0;
  for (const { start, end, label } of [...spans].sort((one, other) => one.start - other.start)) {
    parts.push(text.slice(at, start), h("mark", {}, text.slice(start, end), h("small", {}, label)));
    at = end;
  }
  return h("p", { class: "out" }, parts, text.slice(at));
}

function classification(model, ask) {
  const input = inputOf(model);
  return trialForm([input.element], async (signal) => {
    const { outputs: [{ label, score, scores }] } = await ask("predict", { inputs: [input.read()] }, signal);
    const sorted = Object.entries(scores).sort((one, other) => other[1] - one[1]).slice(0, 12);
    return [h("p", {}, h("strong", {}, String(label)), ` with ${(100 * score).toFixed(1)} %`), bars(sorted)];
  }, { button: "Classify" });
}

function regression(model, ask) {
  const input = inputOf(model);
  return trialForm([input.element], async (signal) => {
    const { outputs: [{ value }] } = await ask("predict", { inputs: [input.read()] }, signal);
    return h("p", { class: "out" }, h("strong", {}, [value].flat().map(figure).join(", ")));
  }, { button: "Predict" });
}

function sequenceLabeling(model, ask) {
  const text = textArea("She moved from Paris to Oslo in May.", 3);
  return trialForm([field("Text", text)], async (signal) => {
    const given = text.value;
    const { outputs: [{ tokens, tags, spans }] } = await ask("predict", { inputs: [given] }, signal);
    const inCharacters = spans.every(({ start, end, text: covered }) => given.slice(start, end) === covered);
    return inCharacters ? spanned(given, spans) : h("p", { class: "out" }, marked(tokens, tags));
  }, { button: "Label" });
}

function semanticRoles(model, ask) {
  const text = h("input", { value: "She sang an old song" });
  const predicate = number(2, { min: 1 });
  const fields = h("div", { class: "columns" }, field("Sentence", text, "words, with spaces between"), field("Predicate", predicate, "its place among the words"));
  return trialForm([fields], async (signal) => {
    const tokens = text.value.trim().split(/\s+/);
    const { outputs: [{ roles }] } = await ask("predict", { inputs: [{ tokens, predicate: Number(predicate.value) - 1 }] }, signal);
    return h("p", { class: "out" }, marked(tokens, roles));
  }, { button: "Find the roles" });
}

function autoencoder(model, ask) {
  const input = inputOf(model);
  return trialForm([input.element], async (signal) => {
    const given = input.read();
    const { outputs: [{ reconstruction, code, error }] } = await ask("predict", { inputs: [given] }, signal);
    const told = h("p", { class: "muted small" }, `mean squared error ${figure(error)}, code of ${code.flat().length} numbers`);
    if (model.input.kind !== "image") return [h("pre", { class: "out" }, reconstruction.map(figure).join(", ")), told];
    const pictures = [[given, "What was given"], [reconstruction, "What was reconstructed"]];
    return [h("div", { class: "pictures" }, pictures.map(([pixels, label]) => h("figure", {}, picture(pixels, label), h("figcaption", { class: "small muted" }, label)))), told];
  }, { button: "Reconstruct" });
}

function maskedLanguageModel(model, ask) {
  const text = textArea("A [MASK] day.", 3);
  return trialForm([field("Text", text, "[MASK] stands for each word to guess")], async (signal) => {
    const { outputs: [{ masks }] } = await ask("predict", { inputs: [text.value] }, signal);
    return masks.flatMap((guesses, index) => [h("h3", { class: "gap-above" }, `Mask ${index + 1}`), bars(guesses.map(({ token, score }) => [token, score]))]);
  }, { button: "Guess" });
}

function word2vec(model, ask) {
  const word = h("input", { value: "king" });
  return trialForm([field("Word", word)], async (signal) => {
    const { outputs: [{ neighbors }] } = await ask("predict", { inputs: [word.value.trim()] }, signal);
    return bars(neighbors.map(({ word: other, score }) => [other, Math.max(0, score)]));
  }, { button: "Find neighbours" });
}

function gan(model, ask) {
  const count = number(8, { min: 1, max: 64 });
  const seed = number(0, { min: 0 });
  return trialForm([h("div", { class: "columns" }, field("Samples", count), field("Seed", seed))], async (signal) => {
    const { samples } = await ask("generate", { parameters: { count: Number(count.value), seed: Number(seed.value) } }, signal);
    if (model.input.kind === "image") return h("div", { class: "pictures" }, samples.map((pixels, index) => picture(pixels, `Sample ${index + 1}`)));
    return h("pre", { class: "out" }, samples.map((row) => row.map(figure).join(", ")).join("\n"));
  }, { button: "Sample" });
}

// ---- text that goes on, piece by piece

function generation(model, ask) {
  const answers = model.method === "instruction_tuning"; // it takes a conversation, and ends where its answer does
  const prompt = textArea(answers ? "" : "Once upon a time");
  const controls = {
    max_tokens: number(80, { min: 1 }),
    temperature: number(0.8, { min: 0, step: 0.1 }),
    top_p: number(1, { min: 0, max: 1, step: 0.05 }),
    seed: number("", { min: 0, placeholder: "any" }),
  };
  const names = { max_tokens: "Tokens at most", temperature: "Temperature", top_p: "Top p", seed: "Seed" };
  const fields = [
    field("Prompt", prompt),
    h("div", { class: "columns" }, Object.entries(controls).map(([name, control]) => field(names[name], control))),
  ];
  const text = h("div", { class: "out" });
  const ending = h("p", { class: "small muted" });
  const parameters = () => Object.fromEntries(Object.entries(controls).filter(([, { value }]) => value !== "").map(([name, { value }]) => [name, Number(value)]));
  const likelihood = h("button", { type: "button" }, "How likely is the prompt?");
  likelihood.addEventListener("click", async () => {
    try {
      const { outputs: [{ perplexity, num_tokens: tokens }] } = await ask("predict", { inputs: [prompt.value] });
      ending.textContent = `Perplexity ${figure(perplexity)} over ${tokens} tokens.`;
    } catch (error) {
      ending.textContent = error.message;
    }
  });
  const form = trialForm(fields, async (signal) => {
    const written = document.createTextNode("");
    text.replaceChildren(h("span", { class: "given" }, answers ? `${prompt.value}\n\n` : prompt.value), written);
    ending.textContent = "";
    const given = answers ? { messages: [{ role: "user", content: prompt.value }] } : { prompt: prompt.value };
    const body = { ...given, parameters: parameters(), stream: true };
    for await (const piece of pieces(`/v1/models/${model.id}/generate`, body, signal)) {
      if (piece.error) throw new Error(piece.error.message);
      written.data += piece.text ?? "";
      if (piece.finish_reason) ending.textContent = `${piece.num_tokens} tokens; ended by ${piece.finish_reason === "length" ? "length" : "itself"}.`;
    }
    return null;
  }, { button: "Generate", out: h("div", {}, text, ending) });
  form.querySelector(".actions").append(likelihood);
  return form;
}

// The data of server-sent events that answer a POST, which EventSource cannot send.
async function* pieces(path, body, signal) {
  const response = await fetch(path, { method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  if (!response.ok) throw await refusal(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    waiting += value;
    const events = waiting.split("\n\n");
    waiting = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

const embedding = (model, ask) => plainTrial(model, ask, "embed");

function plainTrial(model, ask, operation = "predict") {
  const body = textArea('{"inputs": []}', 6);
  return trialForm([field(`Body of ${operation}, as JSON`, body)], async (signal) => {
    const answer = await ask(operation, JSON.parse(body.value), signal);
    return h("pre", { class: "out" }, JSON.stringify(answer, null, 2));
  });
}

const TRIALS = {
  causal_language_model: generation,
  instruction_tuning: generation,
  classification,
  regression,
  sequence_labeling: sequenceLabeling,
  semantic_role_labeling: semanticRoles,
  autoencoder,
  masked_language_model: maskedLanguageModel,
  word2vec,
  gan,
};
