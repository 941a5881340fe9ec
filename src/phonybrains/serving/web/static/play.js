// The form: what it says becomes a request in OpenAI's dialect, and the answer a run of images.

import * as server from "./server.js";
import { save, showRun } from "./results.js";

const element = (id) => document.getElementById(id);
const form = element("ask");
const few = Number(form.dataset.few);
let stopping = null;

function request() {
  const where = {};
  for (const menu of form.querySelectorAll("[data-attribute]")) {
    if (menu.value) where[menu.dataset.attribute] = menu.value;
  }
  for (const slider of form.querySelectorAll("[data-number]:not(:disabled)")) {
    where[slider.dataset.number] = Number(slider.value);
  }
  const body = { prompt: element("prompt").value, where, n: Number(element("n").value), response_format: "b64_json" };
  body.steps = Number(element("steps").value);
  if (!element("guidance").disabled) body.guidance = Number(element("guidance").value);
  if (element("seed").value) body.seed = Number(element("seed").value);
  return body;
}

function say(text) {
  element("state").textContent = text;
}

function complain(error) {
  element("trouble").textContent = error.message;
  element("trouble").hidden = false;
  if (error.status === 401 && element("lock")) {
    element("lock").hidden = false;
    element("token").focus();
  }
}

function busy(isBusy) {
  element("paint").disabled = isBusy;
  element("stop").hidden = !isBusy;
  form.setAttribute("aria-busy", String(isBusy));
}

async function paint() {
  const body = request();
  const start = performance.now();
  const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
  const clock = setInterval(() => (element("stop").textContent = `Stop (${seconds()} s)`), 100);
  stopping = new AbortController();
  element("trouble").hidden = true;
  element("stop").textContent = "Stop";
  busy(true);
  say(`Generating ${body.n === 1 ? "one image" : `${body.n} images`}.`);
  try {
    const answer = await server.generate(body, stopping.signal);
    const run = showRun(answer, saveSet, showFilm);
    say(`${answer.data.length === 1 ? "One image" : `${answer.data.length} images`} in ${seconds()} s.`);
    if (matchMedia("(max-width: 48rem)").matches) run.scrollIntoView({ block: "start" });
  } catch (error) {
    if (stopping.signal.aborted) say("Stopped.");
    else {
      say("");
      complain(error);
    }
  } finally {
    clearInterval(clock);
    busy(false);
  }
}

async function during(button, work) {
  button.disabled = true;
  element("trouble").hidden = true;
  try {
    await work();
  } catch (error) {
    complain(error);
  } finally {
    button.disabled = false;
    button.focus();
  }
}

function saveSet(answer, button) {
  return during(button, async () => save(await server.imageSet(answer.id), `${answer.model}-seed-${answer.seed}.zip`));
}

function showFilm(answer, item, button) {
  return during(button, async () => {
    say("Making the film.");
    const url = URL.createObjectURL(await server.film(answer.id, item.index));
    say("");
    element("film-strip").src = url;
    element("film-strip").alt = `Image ${item.index} from noise to the end: ${item.revised_prompt}`;
    element("film-save").href = url;
    element("film-save").download = `${answer.model}-seed-${answer.seed}-${item.index}-film.png`;
    element("film").addEventListener("close", () => URL.revokeObjectURL(url), { once: true });
    element("film").showModal();
  });
}

function follow(slider, text) {
  const show = () => (element(text).textContent = slider.disabled ? "any" : slider.value);
  slider.addEventListener("input", show);
  show();
  return show;
}

for (const slider of form.querySelectorAll("[data-number]")) {
  const name = slider.dataset.number;
  const show = follow(slider, `is-${name}`);
  const box = element(`set-${name}`);
  const settle = () => {
    slider.disabled = !box.checked;
    show();
  };
  box.addEventListener("change", settle);
  settle();
}
for (const name of ["n", "steps", "guidance"]) follow(element(name), `is-${name}`);

function settleGuidance() {
  const builtIn = Number(element("steps").value) <= few;
  element("guidance").disabled = builtIn;
  element("guidance-note").hidden = !builtIn;
  element("is-guidance").textContent = builtIn ? "–" : element("guidance").value;
}
element("steps").addEventListener("input", settleGuidance);
settleGuidance();

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (element("token")?.value) server.setToken(element("token").value);
  paint();
});
element("stop").addEventListener("click", () => stopping?.abort());
if (element("lock")) element("lock").hidden = Boolean(server.token());
