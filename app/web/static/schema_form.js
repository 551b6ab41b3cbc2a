// A form from a JSON Schema, as pydantic writes them. Knows no job: what has a look of its own is given as `special`.
//
// Each part is {element, read}; `read` gives the value as JSON has it.

import { h } from "./dom.js";
import { words } from "./format.js";

export class SchemaForm {
  #numbered = 0;

  // `special` maps a path to a function (form, path, value) that makes the part there.
  constructor(schema, special = {}) {
    this.definitions = schema.$defs ?? {};
    this.special = special;
  }

  part(node, value, path) {
    if (path in this.special) return this.special[path](this, path, value);
    return this.#partOf(this.resolved(node), value, path);
  }

  // A node with what it refers to filled in.
  resolved(node) {
    if (!node.$ref) return node;
    const { $ref, ...beside } = node;
    return { ...this.definitions[$ref.split("/").at(-1)], ...beside };
  }

  fieldset(node, value, path, legend) {
    const parts = this.parts(node, value, path);
    const element = h("fieldset", {}, h("legend", {}, legend), h("div", { class: "columns" }, parts.elements));
    return { element, read: parts.read };
  }

  // All properties of an object, or those of `names`.
  parts(node, value, path, names = Object.keys(node.properties)) {
    const made = names.map((name) => [name, this.part(node.properties[name], value?.[name], path ? `${path}.${name}` : name)]);
    return {
      elements: made.map(([, { element }]) => element).filter(Boolean),
      read: () => Object.fromEntries(made.map(([name, { read }]) => [name, read()])),
    };
  }

  // A control under its label. `data-path` is where a refusal finds it.
  labelled(control, path, { hint, read }) {
    this.#numbered += 1;
    control.id = `field-${this.#numbered}`;
    control.dataset.path = path;
    control.setAttribute("aria-describedby", `hint-${this.#numbered}`);
    const element = h(
      "div",
      { class: "field" },
      h("label", { for: control.id }, words(path.split(".").at(-1))),
      control,
      h("div", { id: `hint-${this.#numbered}` }, hint && h("p", { class: "hint" }, hint), h("p", { class: "wrong" })),
    );
    return { element, read };
  }

  #partOf(node, value, path) {
    if ("const" in node) return { element: null, read: () => node.const };
    if (isDuration(node)) return this.#duration(node, value, path, false);
    if (node.oneOf) return this.#union(node, value, path);
    if (node.anyOf) return this.#choices(node, value, path);
    if (node.enum) return this.#select(node, node.enum, value, path);
    switch (node.type) {
      case "boolean":
        return this.#select(node, [true, false], value, path);
      case "integer":
      case "number":
        return this.#number(node, value, path, false);
      case "array":
        return this.#list(node, value, path);
      case "object":
        return node.properties ? this.fieldset(node, value, path, words(path.split(".").at(-1))) : this.#pairs(node, value, path);
      default:
        return this.#text(node, value, path, false);
    }
  }

  // anyOf: something or null, or a few values of several types.
  #choices(node, value, path) {
    const others = node.anyOf.map((one) => this.resolved(one)).filter((one) => one.type !== "null");
    const optional = others.length < node.anyOf.length;
    const described = { ...others[0], ...node, anyOf: undefined };
    if (others.every((one) => "const" in one || one.enum || one.type === "boolean")) {
      const values = others.flatMap((one) => ("const" in one ? [one.const] : one.enum ?? [true, false]));
      return this.#select(described, optional ? [null, ...values] : values, value, path);
    }
    const wordsTaken = others.flatMap((one) => ("const" in one ? [one.const] : one.enum ?? []));
    if (isDuration(others[0])) return this.#duration(described, value, path, optional, wordsTaken);
    if (others.length > 1) return this.#mixed(described, others, wordsTaken, value, path, optional);
    if (others[0].properties) return this.#optionalObject(described, value, path);
    if (others[0].type === "string") return this.#text(described, value, path, true);
    return this.#number(described, value, path, true);
  }

  #number(node, value, path, optional) {
    const whole = node.type === "integer";
    const low = node.minimum ?? (whole && node.exclusiveMinimum !== undefined ? node.exclusiveMinimum + 1 : node.exclusiveMinimum);
    const control = h("input", { type: "number", step: whole ? 1 : "any", min: low, max: node.maximum, value: value ?? "", placeholder: optional ? "none" : null });
    return this.labelled(control, path, { hint: node.description, read: () => (control.value === "" ? null : Number(control.value)) });
  }

  // A number or a list, or one of a few words such as `auto`.
  #mixed(node, others, wordsTaken, value, path, optional) {
    const list = others.some((one) => one.type === "array");
    const control = h("input", { value: value ?? "", placeholder: optional ? "none" : null });
    const read = () => {
      const text = control.value.trim();
      if (text === "") return null;
      if (wordsTaken.includes(text)) return text;
      if (list) return text.split(/[\s,]+/);
      return Number.isNaN(Number(text)) ? text : Number(text);
    };
    const free = list ? "Names with commas between" : "A number";
    const hint = [node.description, wordsTaken.length && `${free}, or ${wordsTaken.join(", ")}.`].filter(Boolean).join(" ");
    return this.labelled(control, path, { hint, read });
  }

  #text(node, value, path, optional) {
    const control = h("input", { value: value ?? "", maxlength: node.maxLength });
    return this.labelled(control, path, { hint: node.description, read: () => (control.value === "" && optional ? null : control.value) });
  }

  #select(node, values, value, path) {
    const control = h("select", {}, values.map((one) => h("option", { value: JSON.stringify(one), selected: one === value }, one === null ? "none" : String(one))));
    return this.labelled(control, path, { hint: node.description, read: () => JSON.parse(control.value) });
  }

  #list(node, value, path) {
    const control = h("input", { value: (value ?? []).join(", ") });
    const read = () => control.value.split(/[\s,]+/).filter(Boolean).map((text) => (Number.isNaN(Number(text)) ? text : Number(text)));
    return this.labelled(control, path, { hint: node.description ?? "Numbers with commas between.", read });
  }

  #pairs(node, value, path) {
    const control = h("textarea", { rows: 2, placeholder: "team=nlp" });
    control.value = Object.entries(value ?? {}).map((pair) => pair.join("=")).join("\n");
    const read = () => Object.fromEntries(control.value.split("\n").filter((line) => line.trim()).map(pairOf));
    return this.labelled(control, path, { hint: "One key=value in each line.", read });
  }

  // Exactly one of steps, epochs, tokens; or a word such as `auto` in the unit's place.
  #duration(node, value, path, optional, wordsTaken = []) {
    const units = [...Object.keys(node.properties ?? DURATION_UNITS), ...wordsTaken];
    const given = units.find((unit) => value === unit || value?.[unit] != null) ?? units[0];
    const control = h("input", { type: "number", step: "any", min: 0, value: value?.[given] ?? "", placeholder: optional ? "by default" : null });
    const unit = h("select", { "aria-label": `Unit of ${words(path.split(".").at(-1))}` }, units.map((name) => h("option", { selected: name === given }, name)));
    const read = () => {
      if (wordsTaken.includes(unit.value)) return unit.value;
      return control.value === "" ? null : { [unit.value]: Number(control.value) };
    };
    const tell = () => (control.disabled = wordsTaken.includes(unit.value));
    unit.addEventListener("change", tell);
    tell();
    const hint = wordsTaken.length || node.description?.startsWith("Default") ? node.description : null;
    const made = this.labelled(control, path, { hint, read });
    const both = h("div", { class: "actions together" });
    control.before(both);
    both.append(control, unit);
    return made;
  }

  #optionalObject(node, value, path) {
    const box = h("input", { type: "checkbox", checked: value != null, "data-path": path });
    const inner = this.parts(node, value ?? defaultsOf(this, node), path);
    const fields = h("div", { class: "columns" }, inner.elements);
    const tell = () => (fields.hidden = !box.checked);
    box.addEventListener("change", tell);
    tell();
    const name = words(path.split(".").at(-1));
    const element = h("fieldset", {}, h("legend", {}, h("label", {}, box, ` ${name}`)), node.description && h("p", { class: "hint small muted" }, node.description), fields);
    return { element, read: () => (box.checked ? inner.read() : null) };
  }

  // One of several objects, told apart by a key.
  #union(node, value, path) {
    const key = node.discriminator.propertyName;
    const variants = Object.entries(node.discriminator.mapping).map(([name, $ref]) => [name, this.resolved({ $ref })]);
    const select = h("select", {}, variants.map(([name]) => h("option", { value: name, selected: name === value?.[key] }, words(name))));
    const choice = this.labelled(select, `${path}.${key}`, { hint: null, read: () => select.value });
    const fields = h("div", { class: "columns" });
    const element = h("fieldset", {}, h("legend", {}, words(path.split(".").at(-1))), fields);
    let inner;
    const show = () => {
      const [, variant] = variants.find(([name]) => name === select.value);
      const names = Object.keys(variant.properties).filter((name) => name !== key);
      const start = value?.[key] === select.value ? value : defaultsOf(this, variant);
      inner = this.parts(variant, start, path, names);
      choice.element.querySelector("div").replaceChildren(h("p", { class: "hint" }, variant.description ?? ""), h("p", { class: "wrong" }));
      fields.replaceChildren(choice.element, ...inner.elements);
    };
    select.addEventListener("change", show);
    show();
    return { element, read: () => ({ [key]: select.value, ...inner.read() }) };
  }
}

const DURATION_UNITS = { steps: null, epochs: null, tokens: null };

const isDuration = (node) => node.properties && Object.keys(node.properties).join() === Object.keys(DURATION_UNITS).join();

function pairOf(line) {
  const [key, ...rest] = line.split("=");
  return [key.trim(), rest.join("=").trim()];
}

export const defaultsOf = (form, node) =>
  Object.fromEntries(Object.entries(node.properties ?? {}).map(([name, inner]) => [name, form.resolved(inner).default ?? form.resolved(inner).const ?? null]));

export const same = (one, other) => JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));

// Keys in order, without those that are null: a duration of 3 epochs has no steps either way.
function sorted(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().filter((key) => value[key] !== null).map((key) => [key, sorted(value[key])]));
}

// What of `value` must be said, where `silent` is what the service takes for nothing said. Within an object that is said,
// a key that is left out gets the default of its own schema.
export function said(form, node, value, silent) {
  if (same(value, silent)) return undefined;
  const whole = form.resolved(node.anyOf?.find(({ type }) => type !== "null") ?? node);
  if (value === null || typeof value !== "object" || Array.isArray(value) || isDuration(whole) || !whole.properties) return value;
  const told = Object.entries(whole.properties).map(([name, inner]) => {
    const implied = form.resolved(inner).default;
    const quiet = same(value[name], implied) && (silent == null || same(value[name], silent[name]));
    return [name, quiet ? undefined : said(form, inner, value[name], implied)];
  });
  return Object.fromEntries(told.filter(([, one]) => one !== undefined));
}
