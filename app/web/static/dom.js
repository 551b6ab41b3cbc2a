// Elements from code. Text is always text: nothing that a user wrote becomes markup.

export const byId = (id) => document.getElementById(id);

export const h = (tag, attributes = {}, ...children) =>
  filled(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// `null` and `false` leave an attribute or a child out.
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

// The data that came with the page.
export const pageState = () => JSON.parse(byId("state").textContent);

// Runs at most once a frame however often it is asked for.
export function framed(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}

// Runs `pause` milliseconds after the last call.
export function settled(act, pause) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), pause);
  };
}

/** Put `elements` into `place`, unless those that stand there read alike: whoever is about to press one keeps it. */
export function replaceIfOther(place, elements) {
  const reading = (list) => [...list].map((element) => element.textContent).join();
  if (reading(place.children) !== reading(elements)) place.replaceChildren(...elements);
}

export const badge = (status) => h("span", { class: `badge ${status}` }, status);

export const copyable = (text, label) =>
  h(
    "div",
    { class: "copy" },
    h("pre", { tabindex: "0", "aria-label": label }, text),
    h("button", { type: "button", "data-copy": true }, "Copy"),
  );

// Asks in a dialog; resolves to whether the answer was yes. Without a `yes` it only tells.
export function confirmed(title, paragraphs, yes) {
  const dialog = h(
    "dialog",
    { "aria-labelledby": "dialog-title" },
    h("h2", { id: "dialog-title" }, title),
    h("div", { class: "stack" }, paragraphs.map((text) => h("p", {}, text))),
    h(
      "form",
      { method: "dialog", class: "actions" },
      h("button", { value: "no" }, "No, go back"),
      yes && h("button", { value: "yes", class: "danger" }, yes),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
