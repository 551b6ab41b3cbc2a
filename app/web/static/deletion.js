// Deleting something. What that would free, what stays and what stands in its way is told first.

import { attempt, call } from "./api.js";
import { confirmed } from "./dom.js";
import { bytes, whole } from "./format.js";

// `what` is at `address`, under which the API shows it; the page at `home` comes after it.
export function deleteAfterAsking(button, { what, address, home }) {
  return attempt(button, async () => {
    const { freed_bytes, freed_files, blocked_by, stays } = await call("GET", `${address}/deletion`);
    if (blocked_by.length) {
      await confirmed(`The ${what} cannot be deleted now`, blocked_by);
      return;
    }
    const files = freed_files === 1 ? "one file" : `${whole(freed_files)} files`;
    const told = [freed_files ? `This frees ${bytes(freed_bytes)} in ${files}.` : "This frees no file.", ...stays];
    if (!(await confirmed(`Delete this ${what}?`, told, `Delete the ${what}`))) return;
    await call("DELETE", address);
    location.assign(home);
  });
}
