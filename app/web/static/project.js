// A project: its keys, its webhooks and what they were told.

import { attempt, call, say } from "./api.js";
import { byId, confirmed, copyable, h } from "./dom.js";
import { keepFresh } from "./live.js";

const chosen = (form, name) => [...form.querySelectorAll(`[name=${name}]:checked`)].map(({ value }) => value);

byId("new-key")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const days = byId("key-days").valueAsNumber;
  const asked = { name: byId("key-name").value.trim(), scopes: chosen(form, "scope") };
  await attempt(event.submitter, async () => {
    const made = await call("POST", "/v1/keys", { ...asked, ...(Number.isNaN(days) ? {} : { expires_days: days }) });
    byId("made").replaceChildren(
      h("div", { class: "note" }, h("p", {}, "This is the key. It is shown this once, and kept nowhere."), copyable(made.key, "The key")),
    );
    form.reset();
  });
});

byId("new-webhook").addEventListener("submit", async (event) => {
  event.preventDefault();
  const asked = { url: byId("url").value.trim(), events: chosen(event.target, "event") };
  await attempt(event.submitter, async () => {
    await call("POST", "/v1/webhooks", asked);
    location.reload();
  });
});

// What a button of a table does, by the data that it carries.
const ACTIONS = {
  revoke: async ({ revoke, name }) => {
    if (!(await confirmed(`Revoke the key ${name}?`, ["Whoever uses it is refused within seconds, for good."], "Revoke it"))) return;
    await call("DELETE", `/v1/keys/${revoke}`);
    location.reload();
  },
  remove: async ({ remove, name }) => {
    if (!(await confirmed("Delete this webhook?", [`${name} is told nothing any more.`], "Delete it"))) return;
    await call("DELETE", `/v1/webhooks/${remove}`);
    location.reload();
  },
  secret: async ({ secret }) => {
    const told = await call("GET", `/v1/webhooks/${secret}/secret`);
    await confirmed("The secret that signs", [told.secret]);
  },
  redeliver: async ({ redeliver }) => {
    await call("POST", `/v1/deliveries/${redeliver}/redeliver`);
    say("It is sent again.");
    await look();
  },
};

byId("main").addEventListener("click", async ({ target }) => {
  const action = Object.keys(ACTIONS).find((name) => name in target.dataset);
  if (action) await attempt(target, () => ACTIONS[action](target.dataset));
});

// Who has just made the first key is not signed in with it: the page is left alone until the key has been read.
const look = keepFresh(byId("deliveries"), () => "/project/deliveries", {
  busy: () => byId("made")?.childElementCount > 0,
});
