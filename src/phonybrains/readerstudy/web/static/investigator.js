// The investigator's page: progress is brought up to date every ten seconds, without losing what is being typed.

import { ROOT } from "./server.js";

const EVERY = 10000;

async function refresh() {
  if (document.hidden) return;
  try {
    const headers = { "X-Background": "1" }; // nobody needs be there for this: the session may run out
    const options = { headers, cache: "no-store", credentials: "same-origin", redirect: "error" };
    const response = await fetch(`${ROOT}investigator`, options);
    if (response.status === 401) return location.reload();
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const progress = page.getElementById("progress");
    if (progress) document.getElementById("progress").replaceChildren(...progress.childNodes);
  } catch {
    // The server rests; the next time may do.
  }
}

setInterval(refresh, EVERY);
