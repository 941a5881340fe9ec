// The grid of results: each answer is a run of images, the newest on top.

const MOST_RUNS = 8;

/** An element with properties and children. */
export function make(kind, properties = {}, ...children) {
  const element = Object.assign(document.createElement(kind), properties);
  element.append(...children);
  return element;
}

/** A PNG of an answer. */
export function blobOf(b64) {
  const bytes = Uint8Array.from(atob(b64), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}

/** Offer a file to the browser for saving. */
export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function button(text, label, press) {
  const made = make("button", { type: "button", textContent: text });
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", () => press(made));
  return made;
}

function figureOf(answer, item, act) {
  const name = `${answer.model}-seed-${answer.seed}-${item.index}`;
  const url = URL.createObjectURL(item.blob);
  const what = item.revised_prompt || "nothing asked for, nothing drawn";
  const opener = button("", `Open image ${item.index} at full size`, () => act.open(answer, item));
  opener.className = "open";
  opener.append(make("img", { src: url, alt: `Synthetic image ${item.index}: ${what}` }));
  const link = make("a", { className: "button", href: url, download: `${name}.png`, textContent: "PNG" });
  link.setAttribute("aria-label", `Save image ${item.index} as PNG`);
  const edit = make("a", { className: "button", href: editOf(answer, item), textContent: "Edit" });
  edit.setAttribute("aria-label", `Edit image ${item.index}`);
  const dicom = button("DICOM", `Save image ${item.index} as DICOM`, (pressed) => act.dicom(answer, item, name, pressed));
  const label = `Film of image ${item.index}: from noise to the image`;
  const film = button("Film", label, (pressed) => act.film(answer, item, pressed));
  const row = make("div", { className: "row" }, link, dicom, film, edit);
  return make("figure", {}, opener, make("figcaption", { textContent: `${item.index}: ${what}` }), row);
}

/** Where the page to edit takes an image from, and what it shows. */
function editOf(answer, item) {
  const known = Object.entries(item.conditions).filter(([, value]) => value !== null);
  return `/edit#${new URLSearchParams([["image", `${answer.id}/${item.index}`], ...known])}`;
}

/** What was not understood, and what the server notes, in a sentence each. */
function remarksOf(answer) {
  const remarks = [...answer.notes];
  if (answer.unknown_words.length) {
    remarks.unshift(`Not understood: ${answer.unknown_words.map((word) => `“${word}”`).join(", ")}.`);
  }
  return remarks;
}

/** How an answer was made. */
export const howOf = (answer) => `seed ${answer.seed}, ${answer.steps} steps, guidance ${answer.guidance}`;

/** Show the images of an answer; `act` is what their buttons do. */
export function showRun(answer, act) {
  const asked = answer.understood || "nothing asked for: all as in training";
  const set = button("Save as image set", "", (pressed) => act.set(answer, pressed));
  const compare = Object.assign(button("Compare", "", act.compare), { className: "compare" });
  const run = make("section", { className: "run" });
  run.append(make("div", { className: "row" }, make("h2", { textContent: asked }), set, compare));
  run.append(make("p", { className: "muted small", textContent: howOf(answer) }));
  for (const remark of remarksOf(answer)) run.append(make("p", { className: "notice", textContent: remark }));
  run.append(make("div", { className: "grid" }, ...answer.data.map((item) => figureOf(answer, item, act))));
  return put(run);
}

/** Show a run on top of the others; the oldest goes. */
export function put(run) {
  const results = document.getElementById("results");
  document.getElementById("empty").hidden = true;
  results.prepend(run);
  const runs = results.querySelectorAll(".run");
  for (const old of [...runs].slice(MOST_RUNS)) {
    for (const image of old.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    old.remove();
  }
  return run;
}
