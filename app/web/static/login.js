// A key for a cookie.

import { byId } from "./dom.js";

const wanted = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
const next = wanted.origin === location.origin ? wanted.pathname + wanted.search : "/";

// Another site's link brings no cookie along, though there may be one.
const session = await (await fetch("/session")).json();
if (session.known) location.replace(next);

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = JSON.stringify({ key: byId("key").value.trim() });
  const answer = await fetch("/session", { method: "POST", body, headers: { "Content-Type": "application/json" } });
  if (answer.ok) {
    location.replace(next);
    return;
  }
  const problem = await answer.json();
  byId("wrong").textContent = answer.status === 422 ? "This is no key: it holds characters that no key has." : problem.detail;
  byId("key").setAttribute("aria-invalid", "true");
  byId("key").focus();
});
