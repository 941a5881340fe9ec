// What both forms share: conditions, sliders, the token, and a request under way that can be stopped.

import * as server from "./server.js";

export const element = (id) => document.getElementById(id);

/** What the menus and the numbers that are set ask for. */
export function whereOf(form) {
  const where = {};
  for (const menu of form.querySelectorAll("[data-attribute]")) {
    if (menu.value) where[menu.dataset.attribute] = menu.value;
  }
  for (const slider of form.querySelectorAll("[data-number]:not(:disabled)")) {
    where[slider.dataset.number] = Number(slider.value);
  }
  return where;
}

/** Let the form say what a request says. */
export function fill(form, body) {
  for (const menu of form.querySelectorAll("[data-attribute]")) menu.value = body.where[menu.dataset.attribute] ?? "";
  for (const slider of form.querySelectorAll("[data-number]")) {
    const box = element(`set-${slider.dataset.number}`);
    box.checked = slider.dataset.number in body.where;
    if (box.checked) slider.value = body.where[slider.dataset.number];
    box.dispatchEvent(new Event("change"));
  }
  for (const name of ["prompt", "n", "steps", "guidance", "seed"].filter((name) => name in body)) {
    element(name).value = body[name];
    element(name).dispatchEvent(new Event("input"));
  }
}

export function say(text) {
  element("state").textContent = text;
}

export function complain(error) {
  element("trouble").textContent = error.message;
  element("trouble").hidden = false;
  if (error.status === 401 && element("lock")) {
    element("lock").hidden = false;
    element("token").focus();
  }
}

export function follow(slider, text) {
  const show = () => (element(text).textContent = slider.disabled ? "any" : slider.value);
  slider.addEventListener("input", show);
  show();
  return show;
}

/** Numbers count where their box is checked. */
function followNumbers(form) {
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
}

/** Make the form ask: `ask(signal)` gives what came of it, `{ run, told }`; while it is under way it can be stopped. */
export function asks(form, ask) {
  let stopping = null;

  function busy(isBusy) {
    element("paint").disabled = isBusy;
    element("stop").hidden = !isBusy;
    form.setAttribute("aria-busy", String(isBusy));
  }

  async function begin() {
    const start = performance.now();
    const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
    const clock = setInterval(() => (element("stop").textContent = `Stop (${seconds()} s)`), 100);
    stopping = new AbortController();
    element("trouble").hidden = true;
    element("stop").textContent = "Stop";
    busy(true);
    try {
      const { run, told } = await ask(stopping.signal);
      say(`${told} in ${seconds()} s.`);
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

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    takeToken();
    begin();
  });
  element("stop").addEventListener("click", () => stopping?.abort());
  if (element("lock")) element("lock").hidden = Boolean(server.token());
  followNumbers(form);
}

export function takeToken() {
  if (element("token")?.value) server.setToken(element("token").value);
}
