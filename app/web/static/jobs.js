// The table of jobs: lives, filters as one types a choice, and acts on several jobs at once.

import { attempt, call, say } from "./api.js";
import { byId, confirmed } from "./dom.js";
import { keepFresh } from "./live.js";

const table = byId("table");
const chosen = new Map(); // id -> status
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const MAX_COMPARED = 20;

const boxes = () => [...table.querySelectorAll('input[name="job"]')];

const look = keepFresh(table, () => `/jobs/table${location.search}`, {
  busy: () => table.contains(document.activeElement) && document.activeElement.matches("select, [type=search]"),
  after: restore,
});

function restore() {
  for (const box of boxes()) box.checked = chosen.has(box.value);
  tellChosen();
}

function tellChosen() {
  const bulk = byId("bulk");
  if (!bulk) return;
  bulk.hidden = chosen.size === 0;
  const stoppable = [...chosen.values()].filter((status) => !ENDED.has(status)).length;
  byId("chosen").textContent = `${chosen.size} chosen`;
  byId("cancel").hidden = stoppable === 0;
  byId("compare").disabled = chosen.size > MAX_COMPARED;
  const all = byId("all");
  if (all) all.checked = boxes().length > 0 && boxes().every((box) => box.checked);
}

function choose(box) {
  if (box.checked) chosen.set(box.value, box.dataset.status);
  else chosen.delete(box.value);
}

table.addEventListener("change", ({ target }) => {
  if (target.id === "all") {
    for (const box of boxes()) {
      box.checked = target.checked;
      choose(box);
    }
  } else if (target.name === "job") choose(target);
  else if (target.id === "method") target.form.requestSubmit();
  tellChosen();
});

table.addEventListener("click", ({ target }) => {
  if (target.id === "compare") {
    const query = new URLSearchParams([...chosen.keys()].map((id) => ["job", id]));
    location.assign(`/compare?${query}`);
  } else if (target.id === "cancel") cancelChosen(target);
});

async function cancelChosen(button) {
  const ids = [...chosen].filter(([, status]) => !ENDED.has(status)).map(([id]) => id);
  const what = ids.length === 1 ? "1 job" : `${ids.length} jobs`;
  const told = ["They stop for good and keep their checkpoints. A cancelled job can be retried."];
  if (!(await confirmed(`Cancel ${what}?`, told, `Cancel ${what}`))) return;
  await attempt(button, async () => {
    const answers = await Promise.allSettled(ids.map((id) => call("POST", `/v1/jobs/${id}/cancel`)));
    const refused = answers.filter((answer) => answer.status === "rejected");
    say(refused.length ? `${refused.length} of ${what}: ${refused[0].reason.message}` : `${what} cancelled.`);
    chosen.clear();
    await look();
    restore();
  });
}
