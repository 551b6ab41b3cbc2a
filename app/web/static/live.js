// A part of a page that is fetched anew while somebody looks at it.

import { signIn } from "./api.js";
import { tellTimes } from "./times.js";

// `address` gives the fragment's; `busy` says when the part must be left alone; `after` follows each change.
export function keepFresh(part, address, { seconds = 3, busy = () => false, after = () => {} } = {}) {
  let shown = null;

  async function look() {
    if (document.hidden || busy()) return;
    const response = await fetch(address(), { redirect: "manual" }).catch(() => null);
    if (response?.type === "opaqueredirect") signIn();
    if (!response?.ok) return;
    const text = await response.text();
    if (text === shown || busy()) return;
    if (shown !== null) {
      part.innerHTML = text;
      tellTimes(part);
      after();
    }
    shown = text;
  }

  look();
  setInterval(look, seconds * 1000);
  document.addEventListener("visibilitychange", look);
  return look;
}
