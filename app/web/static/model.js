// One model: the names that point at it, a place to try it, and its end.

import { attempt, call } from "./api.js";
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

byId("delete").addEventListener("click", ({ target }) => deleteAfterAsking(target, { what: "model", address, home: "/models" }));

showAliases();
byId("playground").append(playground(model));
