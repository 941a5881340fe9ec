// The investigator's page: progress is brought up to date every ten seconds, without losing what is being typed.

const EVERY = 10000;

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch("/investigator", { cache: "no-store", credentials: "same-origin", redirect: "error" });
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const progress = page.getElementById("progress");
    if (progress) document.getElementById("progress").replaceChildren(...progress.childNodes);
  } catch {
    // The server rests; the next time may do.
  }
}

setInterval(refresh, EVERY);
