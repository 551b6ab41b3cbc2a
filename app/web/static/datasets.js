// Uploads, with what the service finds wrong told by its place.

import { signIn } from "./api.js";
import { byId, h } from "./dom.js";
import { bytes } from "./format.js";

const form = byId("upload");
let request = null;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [file] = byId("file").files;
  const columns = columnsOf(byId("columns").value);
  if (columns === null) {
    refuse({ detail: "Columns are pairs: text=review, label=stars" });
    return;
  }
  send(file, { name: byId("name").value.trim(), kind: byId("kind").value, columns });
});

byId("stop").addEventListener("click", () => request?.abort());

// {"text": "review"} of "text=review"; null where it is no list of pairs.
function columnsOf(text) {
  const pairs = text.split(",").filter((part) => part.trim()).map((part) => part.split("=").map((side) => side.trim()));
  if (pairs.some((pair) => pair.length !== 2 || pair.includes(""))) return null;
  return pairs.length ? JSON.stringify(Object.fromEntries(pairs)) : "";
}

// XMLHttpRequest, because fetch tells no progress of what it sends. The file comes last: the fields are read by then.
function send(file, fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) if (value) body.append(name, value);
  body.append("file", file);
  request = new XMLHttpRequest();
  request.upload.addEventListener("progress", ({ loaded, total }) => tell(loaded, total));
  request.addEventListener("load", () => answered(request));
  request.addEventListener("error", () => refuse({ detail: "The service cannot be reached." }));
  request.addEventListener("abort", () => refuse({ detail: "Stopped. Nothing was stored." }));
  request.open("POST", "/v1/datasets");
  request.responseType = "json";
  request.send(body);
  going(true);
  byId("refused").replaceChildren();
}

function tell(loaded, total) {
  byId("bar").value = loaded / total;
  byId("sent").textContent = loaded < total ? `${bytes(loaded)} of ${bytes(total)}` : "Checking every record ...";
  if (loaded === total) byId("bar").removeAttribute("value");
}

function answered({ status, response }) {
  if (status === 201) location.assign(`/datasets/${response.id}`);
  else if (status === 401) signIn();
  else refuse(response ?? { detail: `The service answered ${status}.` });
}

function refuse({ detail, errors = [] }) {
  going(false);
  const places = errors.map(({ location, message }) => h("li", {}, h("strong", {}, location), ` ${message}`));
  byId("refused").replaceChildren(h("div", { class: "note bad" }, h("p", {}, detail), h("ul", { class: "small" }, places)));
}

function going(on) {
  byId("going").hidden = byId("stop").hidden = !on;
  form.querySelector("button.primary").disabled = on;
}
