// One data set: its first records, and its end.

import { attempt, call, say } from "./api.js";
import { byId, confirmed, pageState } from "./dom.js";
import { bytes } from "./format.js";
import { samplesTable } from "./samples.js";

const { dataset, uses } = pageState();

async function showSamples() {
  try {
    const { data } = await call("GET", `/v1/datasets/${dataset.id}/preview?limit=${byId("limit").value}`);
    byId("samples").replaceChildren(samplesTable(data));
  } catch (error) {
    byId("samples").replaceChildren();
    say(error.message);
  }
}

byId("limit").addEventListener("change", showSamples);

byId("delete").addEventListener("click", async ({ target }) => {
  const jobs = uses === 1 ? "The job that was" : `The ${uses} jobs that were`;
  const told = [
    `This frees ${bytes(dataset.size_bytes)}, unless another data set holds the same bytes.`,
    uses ? `${jobs} trained on it and their models keep working, but cannot be retried or cloned.` : "No job has trained on it.",
  ];
  if (!(await confirmed(`Delete ${dataset.name}?`, told, "Delete the data set"))) return;
  await attempt(target, async () => {
    await call("DELETE", `/v1/datasets/${dataset.id}`);
    location.assign("/datasets");
  });
});

showSamples();
