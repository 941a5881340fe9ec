// What the reading page says besides the image: progress, saving, trouble, and messages that cover all of it.

const element = (id) => document.getElementById(id);

export function showProgress(state) {
  const number = Math.min(state.done + 1, state.total);
  element("count").textContent = state.current ? `Image ${number} of ${state.total}` : `${state.done} of ${state.total}`;
  element("practice").hidden = state.current?.kind !== "training";
  element("bar").max = Math.max(state.total, 1);
  element("bar").value = state.done;
}

export function showSaved(text) {
  element("saved").textContent = text;
}

/** For those who do not see the page. */
export function say(text) {
  element("live").textContent = text;
}

const REASONS = {
  0: "The server cannot be reached.",
  429: "The server asks for a moment.",
  500: "The server has a fault: please tell the person who invited you.",
  507: "The server's disk is full.",
};

export function showTrouble(status) {
  const reason = REASONS[status] ?? "The server is busy.";
  const text = `${reason} What you entered is kept in this browser and is sent again by itself.`;
  if (element("trouble").hidden) say(text);
  element("trouble-text").textContent = text;
  element("trouble").hidden = false;
}

export function hideTrouble() {
  if (!element("trouble").hidden) say("The connection is back.");
  element("trouble").hidden = true;
}

/** Cover the page with a message; what is under it can be neither seen nor reached. */
export function cover(title, text) {
  if (!element("cover").hidden && element("cover-title").textContent === title) return;
  element("cover-title").textContent = title;
  element("cover-text").textContent = text;
  element("cover").hidden = false;
  element("trouble").hidden = true;
  for (const part of document.querySelectorAll(".stage, .panel")) part.inert = true;
  if (element("help").open) element("help").close();
  element("cover").focus();
  say(`${title} ${text}`);
}

export function uncover() {
  element("cover").hidden = true;
  for (const part of document.querySelectorAll(".stage, .panel")) part.inert = false;
}

export const covered = () => !element("cover").hidden;

/** One button for each ready-made window: its name, and its width and level below. */
export function showPresets(presets, onChoose) {
  const buttons = presets.map((preset, index) => {
    const [, name, values] = /^(.*?)(?: (\S*\d\S*))?$/.exec(preset.name);
    const button = document.createElement("button");
    button.type = "button";
    button.append(name);
    if (values) button.append(Object.assign(document.createElement("small"), { textContent: values }));
    button.setAttribute("aria-keyshortcuts", String(index + 1));
    button.addEventListener("click", () => onChoose(index));
    return button;
  });
  element("presets").replaceChildren(...buttons);
}

/** The value under the pointer or the cross: in HU where these are known, else as a grey value. */
export function showProbe(found) {
  const value = found && Math.round(found.value);
  element("probe").textContent = found ? `${found.column}, ${found.row}: ${found.unit ? `${value} HU` : `grey ${value}`}` : "";
}

/** Width and level beside the image; a field that is being written in is left alone. */
function showNumbers({ windowNumbers, pixels }) {
  for (const [name, number] of Object.entries(windowNumbers)) {
    const field = element(`window-${name}`);
    if (field !== document.activeElement) field.value = pixels ? Math.round(number) : "";
  }
}

export function showView(viewer, marking) {
  for (const [index, button] of [...element("presets").children].entries()) {
    button.setAttribute("aria-pressed", String(index === viewer.chosen));
  }
  element("invert").setAttribute("aria-pressed", String(viewer.inverted));
  element("mark").setAttribute("aria-pressed", String(marking));
  element("pixels").setAttribute("aria-pressed", String(!viewer.smooth));
  showNumbers(viewer);
  element("zoom").textContent = viewer.pixels && viewer.zoom !== 1 ? `× ${viewer.zoom.toFixed(1)}` : "";
  viewer.canvas.classList.toggle("marking", marking);
}

export function showFeedback(truth, call, studyFollows) {
  const right = call === "unclear" ? "You said it is unclear." : `You said ${call}.`;
  element("truth").textContent = `This image is ${truth}.`;
  element("said").textContent = right + (studyFollows ? " Practice is over: from now on you are not told." : "");
}
