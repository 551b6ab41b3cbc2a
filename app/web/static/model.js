// One model: the names that point at it, where it is in memory, a place to try it, and its end.

import { attempt, call, say } from "./api.js";
import { deleteAfterAsking } from "./deletion.js";
import { byId, h, pageState } from "./dom.js";
import { playground } from "./playground.js";

let { model } = pageState();
const address = `/v1/models/${model.id}`;

function showAliases() {
  byId("aliases").replaceChildren(
    ...model.aliases.map((alias) =>
      h("span", { class: "tag" }, alias, h("button", { type: "button", "data-alias": alias, "aria-label": `Take the alias ${alias} away` }, "×"))),
  );
}

byId("aliases").addEventListener("click", async ({ target }) => {
  const { alias } = target.dataset;
  if (alias === undefined) return;
  await attempt(target, async () => {
    await call("DELETE", `${address}/aliases/${encodeURIComponent(alias)}`);
    model = { ...model, aliases: model.aliases.filter((other) => other !== alias) };
    showAliases();
  });
});

byId("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  await attempt(event.submitter, async () => {
    model = await call("PUT", `${address}/aliases/${encodeURIComponent(byId("alias").value.trim())}`);
    byId("alias").value = "";
    showAliases();
  });
});

function showMemory() {
  const { pinned, loaded_on: replicas } = model;
  const held = replicas.length ? `Loaded on ${replicas.length === 1 ? "one replica" : `${replicas.length} replicas`}` : "On no replica";
  byId("memory").textContent = pinned ? `${held}, pinned.` : `${held}.`;
  byId("memory").title = replicas.join(", ");
  byId("pin").textContent = pinned ? "Unpin" : "Pin";
}

async function lookAgain() {
  model = await call("GET", address);
  showMemory();
}

function steers(id, act) {
  byId(id).addEventListener("click", ({ target }) =>
    attempt(target, async () => {
      await act();
      await lookAgain();
    }));
}

steers("load", async () => {
  const { load_seconds: seconds } = await call("POST", `${address}/load`);
  say(seconds ? `Loaded in ${seconds.toFixed(2)} s.` : "It was loaded already.");
});
steers("unload", () => call("POST", `${address}/unload`));
steers("pin", () => call(model.pinned ? "DELETE" : "PUT", `${address}/pin`));

byId("delete").addEventListener("click", ({ target }) => deleteAfterAsking(target, { what: "model", address, home: "/models" }));

showAliases();
showMemory();
byId("playground").append(playground(model));
