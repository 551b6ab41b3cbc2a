// What every page does: the theme, times in the reader's own words, copying, signing out.

import { signIn } from "./api.js";
import { byId } from "./dom.js";
import { tellTimes } from "./times.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = byId("theme");
const current = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
const tellTheme = () => (theme.textContent = current() === "dark" ? "Light" : "Dark");

theme.addEventListener("click", () => {
  const next = current() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
  tellTheme();
});
dark.addEventListener("change", tellTheme);
tellTheme();

tellTimes();
setInterval(tellTimes, 30_000);

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  await copy(button.parentElement.querySelector("pre"));
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 2000);
});

// Without https the browser gives no clipboard: then the text is chosen, ready for Ctrl-C.
async function copy(text) {
  getSelection().selectAllChildren(text);
  if (navigator.clipboard) await navigator.clipboard.writeText(text.textContent);
}

// A service without keys has nothing to sign out of.
byId("leave")?.addEventListener("click", async () => {
  await fetch("/session", { method: "DELETE" });
  signIn();
});
