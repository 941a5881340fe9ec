// The form: what it says becomes a request in OpenAI's dialect, and the answer a run of images.

import * as server from "./server.js";
import { asks, complain, element, follow, say, whereOf } from "./form.js";
import { save, showRun } from "./results.js";

const form = element("ask");
const few = Number(form.dataset.few);

function request() {
  const body = { prompt: element("prompt").value, where: whereOf(form), n: Number(element("n").value) };
  body.response_format = "b64_json";
  body.steps = Number(element("steps").value);
  if (!element("guidance").disabled) body.guidance = Number(element("guidance").value);
  if (element("seed").value) body.seed = Number(element("seed").value);
  return body;
}

async function paint(signal) {
  const body = request();
  say(`Generating ${body.n === 1 ? "one image" : `${body.n} images`}.`);
  const answer = await server.generate(body, signal);
  const run = showRun(answer, saveSet, showFilm);
  return { run, told: answer.data.length === 1 ? "One image" : `${answer.data.length} images` };
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

for (const name of ["n", "steps", "guidance"]) follow(element(name), `is-${name}`);

function settleGuidance() {
  const builtIn = Number(element("steps").value) <= few;
  element("guidance").disabled = builtIn;
  element("guidance-note").hidden = !builtIn;
  element("is-guidance").textContent = builtIn ? "–" : element("guidance").value;
}
element("steps").addEventListener("input", settleGuidance);
settleGuidance();

asks(form, paint);
