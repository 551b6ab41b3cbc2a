// Records of data sets, as people read them.

import { h } from "./dom.js";
import { figure } from "./format.js";

const NUMBERS_SHOWN = 12;

export function samplesTable(records) {
  const names = [...new Set(records.flatMap((record) => Object.keys(record)))];
  return h(
    "table",
    {},
    h("caption", { class: "hidden-text" }, "Samples"),
    h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, records.map((record) => h("tr", {}, names.map((name) => h("td", {}, shown(name, record[name], record)))))),
  );
}

function shown(name, value, record) {
  if (value === undefined || value === null) return "–";
  if (name === "image") return h("div", { class: "pictures" }, picture(value, "A sample"));
  if (name === "tokens" && record.tags) return marked(value, record.tags);
  if (name === "messages") return value.map(({ role, content }) => h("p", {}, h("strong", {}, `${role}: `), content));
  if (Array.isArray(value)) return h("code", {}, list(value));
  return h("span", { class: "wrap" }, String(value));
}

function list(values) {
  const told = values.slice(0, NUMBERS_SHOWN).map((value) => (typeof value === "number" ? figure(value) : value));
  return `${told.join(", ")}${values.length > NUMBERS_SHOWN ? `, ... (${values.length})` : ""}`;
}

// Tokens with what their tags mark; O marks nothing.
export const marked = (tokens, tags) =>
  h("span", { class: "wrap" }, tokens.flatMap((token, index) => [
    tags[index] === "O" ? token : h("mark", {}, token, h("small", {}, String(tags[index]))), " ",
  ]));

// A PNG in base64, or pixel values [H][W] or [C][H][W].
export function picture(pixels, label) {
  if (typeof pixels === "string") return h("img", { src: `data:image/png;base64,${pixels}`, alt: label });
  const planes = Array.isArray(pixels[0][0]) ? pixels : [pixels];
  const [height, width] = [planes[0].length, planes[0][0].length];
  const canvas = h("canvas", { width, height, role: "img", "aria-label": label });
  const image = new ImageData(width, height);
  for (let row = 0; row < height; row += 1)
    for (let column = 0; column < width; column += 1) {
      const at = 4 * (row * width + column);
      for (let channel = 0; channel < 3; channel += 1)
        image.data[at + channel] = (planes.length >= 3 ? planes[channel] : planes[0])[row][column];
      image.data[at + 3] = 255;
    }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
