// `<time>` elements, told as people do; the exact time stands in their title.

import { ago } from "./format.js";

export function tellTimes(within = document) {
  for (const element of within.querySelectorAll("time[datetime]")) {
    const stamp = element.getAttribute("datetime");
    element.textContent = element.dataset.told === "clock" ? element.textContent : ago(stamp);
    element.title = new Date(stamp).toLocaleString("en-GB");
  }
}
