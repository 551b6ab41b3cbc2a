// One data set: its first records, and its end.

import { call, say } from "./api.js";
import { deleteAfterAsking } from "./deletion.js";
import { byId, pageState } from "./dom.js";
import { samplesTable } from "./samples.js";

const { dataset } = pageState();

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

byId("delete").addEventListener("click", ({ target }) =>
  deleteAfterAsking(target, { what: "data set", address: `/v1/datasets/${dataset.id}`, home: "/datasets" }),
);

showSamples();
