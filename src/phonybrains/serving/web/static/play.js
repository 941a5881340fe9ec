// The form: what it says becomes a request in OpenAI's dialect, and the answer a run of images.

import * as server from "./server.js";
import { asks, complain, element, fill, follow, say, whereOf } from "./form.js";
import { list, remember } from "./history.js";
import { blobOf, howOf, save, showRun } from "./results.js";
import { open } from "./viewer.js";

const form = element("ask");
const few = Number(form.dataset.few);
const answers = new WeakMap(); // of each run, with what it was asked for
let held = null; // A: the answer that the next is compared with, and its request

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
  const run = await present(body, await server.generate(body, signal));
  return { run, told: body.n === 1 ? "One image" : `${body.n} images` };
}

/** Show an answer, keep how it was made, and compare it with A, if that is held. */
async function present(asked, answer) {
  const body = { ...asked, seed: answer.seed };
  for (const item of answer.data) item.blob ??= blobOf(item.b64_json);
  remember(body, answer, recall);
  const run = showRun(answer, { set, film, dicom, open: openRun, compare: () => compare({ body, answer }) });
  answers.set(run, answer);
  nameButtons();
  if (held) await openPairs(held.answer, answer);
  return run;
}

/** Bring an answer back: as the server still keeps it, else made again, which gives the same images. */
function recall({ body, answer }, button) {
  return during(button, async () => {
    const again = async (item) => ({ ...item, blob: await server.image(`${answer.id}/${item.index}`) });
    const data = await Promise.all(answer.data.map(again)).catch(() => null);
    const run = await present(body, data ? { ...answer, data } : await server.generate(body));
    fill(form, body);
    run.scrollIntoView({ block: "nearest" });
  });
}

const view = (label, answer, item) => ({ item, label, text: `${howOf(answer)}. ${item.revised_prompt}` });

const openRun = (answer, item) => open(answer.data.map((one) => [view("", answer, one)]), answer.data.indexOf(item));

function openPairs(a, b) {
  const both = a.data.slice(0, b.data.length).map((item, i) => [view("A", a, item), view("B", b, b.data[i])]);
  return open(both, 0);
}

/** Hold an answer as A, let it go, or compare another with it. */
function compare(one) {
  if (held && held.answer !== one.answer) return openPairs(held.answer, one.answer);
  held = held ? null : one;
  element("held").hidden = !held;
  if (held) {
    fill(form, held.body);
    const next = "Change what you like: Generate shows B beside it, of the same seed.";
    element("held").textContent = `A is held: ${howOf(held.answer)}. ${next}`;
  }
  nameButtons();
}

function nameButtons() {
  for (const run of document.querySelectorAll(".run")) {
    const isHeld = answers.get(run) === held?.answer;
    run.querySelector(".compare").textContent = isHeld ? "Let A go" : held ? "Compare with A" : "Compare";
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

const set = (answer, button) =>
  during(button, async () => save(await server.imageSet(answer.id), `${answer.model}-seed-${answer.seed}.zip`));

const dicom = (answer, item, name, button) =>
  during(button, async () => save(await server.dicom(answer.id, item.index), `${name}.dcm`));

function film(answer, item, button) {
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

list(recall);
asks(form, paint);
