// Specifications as rows: one for each setting, by its path.

import { h } from "./dom.js";

// {"training.batch_size": "32", ...}; what is null is not set.
export function flat(value, path = "", found = {}) {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flat(inner, path ? `${path}.${key}` : key, found);
  } else if (value !== null) found[path] = typeof value === "string" ? value : JSON.stringify(value);
  return found;
}

// `columns` are [heading, flat settings]; a row whose values are not all alike is marked.
export function settingsTable(columns, { onlyDiffering, caption }) {
  const paths = [...new Set(columns.flatMap(([, settings]) => Object.keys(settings)))];
  const differs = (path) => columns.some(([, settings]) => settings[path] !== columns[0][1][path]);
  const shown = paths.filter((path) => !onlyDiffering || differs(path));
  return h(
    "table",
    { class: columns.length < 3 ? "facts" : "" },
    h("caption", { class: "hidden-text" }, caption),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), columns.map(([heading]) => h("th", { scope: "col" }, heading)))),
    h(
      "tbody",
      {},
      shown.map((path) =>
        h(
          "tr",
          { class: columns.length > 1 && differs(path) ? "differs" : null },
          h("th", { scope: "row", class: "mono" }, path),
          columns.map(([, settings]) => h("td", { class: "mono" }, settings[path] ?? "–")),
        )),
      shown.length === 0 && h("tr", {}, h("td", { colspan: columns.length + 1, class: "muted" }, "Nothing differs.")),
    ),
  );
}
