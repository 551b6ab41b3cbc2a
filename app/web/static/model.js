// One model: the names that point at it, a place to try it, and its end.

import { attempt, call } from "./api.js";
import { byId, confirmed, h, pageState } from "./dom.js";
import { bytes } from "./format.js";
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

byId("delete").addEventListener("click", async ({ target }) => {
  const told = [
    `This frees up to ${bytes(model.size_bytes)}. The job that made it keeps its checkpoints.`,
    "It is refused while an alias, another model or an unfinished job needs the model.",
  ];
  if (!(await confirmed("Delete this model?", told, "Delete the model"))) return;
  await attempt(target, async () => {
    await call("DELETE", address);
    location.assign("/models");
  });
});

showAliases();
byId("playground").append(playground(model));
