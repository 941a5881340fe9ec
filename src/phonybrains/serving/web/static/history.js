// What was made, kept by this browser for this model: seed and settings, which give each image again.

import { element } from "./form.js";
import { howOf, make } from "./results.js";

const KEY = `phonybrains history ${element("ask").dataset.sha256}`;
const MOST = 50;
let entries = [];
let kept = true;

try {
  entries = JSON.parse(localStorage.getItem(KEY) ?? "[]");
} catch {
  kept = false;
}

/** Keep a request and what came of it, without the pictures; the same request stands there once. */
export function remember(body, answer, onRecall) {
  const data = answer.data.map(({ blob, b64_json, ...told }) => told);
  const same = (entry) => JSON.stringify(entry.body) === JSON.stringify(body);
  entries = [{ body, answer: { ...answer, data } }, ...entries.filter((entry) => !same(entry))].slice(0, MOST);
  keep();
  list(onRecall);
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(entries));
  } catch {
    kept = false;
  }
}

/** List what was made, the newest first; a press brings it back. */
export function list(onRecall) {
  const items = entries.map((entry) => {
    const text = `${entry.answer.understood || "nothing asked for"}: ${howOf(entry.answer)}, ${entry.answer.data.length}×`;
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", () => onRecall(entry, button));
    return make("li", {}, button);
  });
  element("made").replaceChildren(...items);
  element("history").hidden = !entries.length;
  element("history-title").textContent = `History (${entries.length})`;
  element("history-note").hidden = kept;
}

element("forget").addEventListener("click", () => {
  entries = [];
  keep();
  list();
});
