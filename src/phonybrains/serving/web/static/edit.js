// A picture, what it shows, and what is to be made of it: asked for, and shown as before, after and spread.

import * as server from "./server.js";
import { asks, complain, element, follow, say, takeToken, whereOf } from "./form.js";
import { Mask } from "./mask.js";
import { blobOf, make, put } from "./results.js";

const form = element("ask");
const DONE = { upscale: "Upscaled", inpaint: "Inpainted", vary: "Varied" };
const most = Number(form.dataset.mostBytes);
let picture = "";
let shown = false;

const what = () => element("edit").selectedOptions[0];
const mask = new Mask(
  element("mask"),
  () => Number(element("brush").value),
  () => element("erase").checked,
  (pixels) => (element("painted").textContent = `${pixels} pixels are to be filled.`),
);

async function base64(blob) {
  const reader = new FileReader();
  await new Promise((done) => {
    reader.onloadend = done;
    reader.readAsDataURL(blob);
  });
  if (reader.error) throw new Error("The file cannot be read. Is it still there?");
  return reader.result.split(",")[1] ?? "";
}

/** Show a picture as the model is shown it. */
async function show() {
  takeToken();
  const image = element("picture");
  const url = URL.createObjectURL(await server.picture(picture));
  URL.revokeObjectURL(image.src);
  image.src = url;
  image.alt = "The picture, as the model is shown it";
  element("bench").hidden = false;
  shown = true;
  mask.reset();
}

/** Take a picture, and what is known of it. */
async function take(getting, known = {}) {
  element("trouble").hidden = true;
  [picture, shown] = ["", false];
  try {
    const blob = await getting;
    if (blob.size > most) throw new Error(`The file is larger than ${most / 2 ** 20} MB. Give a smaller one.`);
    picture = await base64(blob);
    await show();
  } catch (error) {
    element("bench").hidden = true;
    complain(error);
    return;
  }
  for (const menu of form.querySelectorAll("[data-attribute]")) {
    const value = known[menu.dataset.attribute];
    if ([...menu.options].some((option) => option.value === value)) menu.value = value;
  }
}

async function drawOne() {
  takeToken();
  say("Drawing a picture.");
  element("own").disabled = true;
  try {
    const body = { prompt: "", where: whereOf(form), n: 1, response_format: "b64_json" };
    const [item] = (await server.generate(body)).data;
    await take(blobOf(item.b64_json), item.conditions);
  } catch (error) {
    complain(error);
  }
  element("own").disabled = false;
  element("file").value = "";
  say("");
}

function request() {
  const body = { image: picture, edit: what().value, where: whereOf(form), n: Number(element("n").value) };
  if (body.edit === "upscale") body.factor = Number(what().dataset.factor);
  if (body.edit === "vary") body.strength = Number(element("strength").value);
  if (body.edit === "inpaint") body.mask = mask.png();
  if (element("seed").value) body.seed = Number(element("seed").value);
  return body;
}

function figure(b64, title, text, name = "") {
  const image = make("img", { src: URL.createObjectURL(blobOf(b64)), alt: `${title}. ${text}` });
  const caption = make("figcaption", {}, make("strong", { textContent: title }), text);
  if (!name) image.className = "exact";
  const link = make("a", { className: "button", href: image.src, download: name, textContent: "PNG" });
  link.setAttribute("aria-label", `Save as PNG: ${title}`);
  return make("figure", {}, image, caption, ...(name ? [make("div", { className: "row" }, link)] : []));
}

function showEdit(answer) {
  const factor = answer.factor ? ` ×${answer.factor}` : "";
  const stem = `${answer.model}-${answer.edit}-seed-${answer.seed}`;
  const figures = [figure(answer.before, "Before", "As the model was given it.")];
  for (const { index, b64_json } of answer.data) {
    figures.push(figure(b64_json, `After, draw ${index}`, answer.note, `${stem}-${index}.png`));
  }
  if (answer.spread) {
    const text = "Where the draws differ: black not at all, white by a deviation of 64 grey levels or more.";
    figures.splice(2, 0, figure(answer.spread, "Spread", text, `${stem}-spread.png`));
  }
  const run = make("section", { className: "run" }, make("h2", { textContent: DONE[answer.edit] + factor }));
  run.append(make("p", { className: "muted small", textContent: `seed ${answer.seed}, ${answer.steps} steps` }));
  run.append(make("p", { className: "notice", textContent: answer.note }), make("div", { className: "grid" }, ...figures));
  return put(run);
}

async function edit(signal) {
  if (!picture) throw new Error("Take a picture first.");
  if (!shown) await show();
  say("The model draws.");
  const answer = await server.edit(request(), signal);
  return { run: showEdit(answer), told: answer.data.length === 1 ? "One draw" : `${answer.data.length} draws` };
}

function settle() {
  for (const part of document.querySelectorAll("[data-only]")) part.hidden = part.dataset.only !== what().value;
  const side = Number(form.dataset.size) / Number(what().dataset.factor ?? 1);
  const notes = { inpaint: "Paint what is to be filled, or give a rectangle.", upscale: `It is upscaled from ${side}×${side} pixels.` };
  element("bench-note").textContent = notes[what().value] ?? "";
}

function paintBox() {
  const sides = ["x", "y", "width", "height"].map((side) => element(`box-${side}`));
  if (sides.every((side) => side.reportValidity())) mask.rectangle(...sides.map((side) => Number(side.value)));
}

for (const name of ["n", "strength", "brush"]) follow(element(name), `is-${name}`);
element("file").addEventListener("change", () => element("file").files[0] && take(element("file").files[0]));
element("own").addEventListener("click", drawOne);
element("edit").addEventListener("change", settle);
element("undo").addEventListener("click", () => mask.undo());
element("clear").addEventListener("click", () => mask.clear());
element("box").addEventListener("click", paintBox);
element("tools").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches("[type=number]")) return;
  event.preventDefault();
  paintBox();
});
settle();
asks(form, edit);

const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
if (given.image) take(server.image(given.image), given);
