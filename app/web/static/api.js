// Calls to the public API, and what became of them, told in the page.

import { byId } from "./dom.js";

// What the service refused: `problem` is its body, as RFC 9457 has it.
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `The service answered ${status}.`);
    this.status = status;
    this.problem = problem;
  }
}

export async function call(method, path, body, { signal } = {}) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await fetch(path, { method, signal, ...sent });
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

export async function refusal(response) {
  if (response.status === 401) signIn();
  const problem = await response.json().catch(() => ({}));
  return new Refused(response.status, problem);
}

export function signIn() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

let hiding;

// A short line that screen readers speak too.
export function say(text) {
  clearTimeout(hiding);
  byId("toast").textContent = text;
  hiding = setTimeout(() => (byId("toast").textContent = ""), 8000);
}

// Does something for a button: once at a time, and tells why where it fails.
export async function attempt(button, act) {
  button.disabled = true;
  try {
    return await act();
  } catch (error) {
    say(error.message);
    return undefined;
  } finally {
    button.disabled = false;
  }
}
