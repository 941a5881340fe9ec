// An image as large as the screen lets it be, or two beside each other and their difference, with window and level.

import { element } from "./form.js";
import { make } from "./results.js";

const PRESETS = { Brain: [40, 80], Subdural: [75, 200], Bone: [600, 2800] }; // level and width in HU
const DRAG = 400; // pixels of a drag that move level or width through all that is stored
const [level, width] = [element("level"), element("width")];
let views = []; // each a list of panes: { label, items }, what is seen at one time
let at = 0;
let shown = []; // the panes on the screen: { grey, pen, difference }
let scale = null;

/** What grey levels of an image stand for: HU where the model knows, else themselves. */
function scaleOf(items) {
  const [first] = items;
  const same = items.every((one) => one.unit === "HU" && one.slope === first.slope && one.intercept === first.intercept);
  const [slope, intercept, unit] = same ? [first.slope, first.intercept, "HU"] : [1, 0, "grey levels"];
  return { value: (grey) => slope * grey + intercept, low: intercept, high: slope * 255 + intercept, unit };
}

async function greyOf(blob) {
  const picture = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = make("canvas", { width: picture.width, height: picture.height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(picture, 0, 0);
  return { pen, grey: pen.getImageData(0, 0, canvas.width, canvas.height).data.filter((_, i) => i % 4 === 0) };
}

/** Shown is 255 · ((value - level) / width + 1/2), cut off at black and white.  [PS3.3 C.11.2.1.3.2, LINEAR_EXACT] */
function draw() {
  const [centre, across] = [Number(level.value), Number(width.value)];
  const seen = Uint8ClampedArray.from({ length: 256 }, (_, i) => 255 * ((scale.value(i) - centre) / across + 0.5));
  for (const { grey, pen, minus } of shown) {
    const image = pen.createImageData(pen.canvas.width, pen.canvas.height);
    const one = (i) => (minus ? (seen[grey[i]] - seen[minus[i]] + 255) / 2 : seen[grey[i]]);
    grey.forEach((_, i) => image.data.fill(one(i), 4 * i, 4 * i + 3).fill(255, 4 * i + 3, 4 * i + 4));
    pen.putImageData(image, 0, 0);
  }
  element("is-level").textContent = `${Math.round(centre)} ${scale.unit}`;
  element("is-width").textContent = `${Math.round(across)} ${scale.unit}`;
}

function set(centre, across) {
  [level.value, width.value] = [centre, across];
  draw();
}

function settleWindow() {
  const { low, high, unit } = scale;
  [level.min, level.max, width.min, width.max] = [low, high, (high - low) / 255, high - low];
  const presets = Object.entries(PRESETS).map(([name, [centre, across]]) => {
    const button = make("button", { type: "button", textContent: name, onclick: () => set(centre, across) });
    button.disabled = centre - across / 2 < low || centre + across / 2 > high;
    return button;
  });
  element("presets").replaceChildren(...(unit === "HU" ? presets : []));
  const stored = `Stored are ${Math.round(low)} to ${Math.round(high)} HU in 256 steps: no window can open further.`;
  const unknown = "8-bit grey levels, which a window cannot open further. What HU they stand for, the model does not know.";
  const ct = views[at].some(({ item }) => item.conditions.modality === "CT");
  element("window-note").textContent = unit === "HU" ? stored : ct ? unknown : "";
}

function pane(pen, title, text) {
  Object.assign(pen.canvas, { role: "img" }).setAttribute("aria-label", `${title} ${text}`);
  return make("figure", {}, pen.canvas, make("figcaption", {}, make("strong", { textContent: title }), text));
}

/** Show one of the views; the window stays where it means the same. */
async function show(place) {
  const panes = await Promise.all(views[place].map(async (one) => ({ ...one, ...(await greyOf(one.item.blob)) })));
  const before = scale && [scale.low, scale.high, scale.unit].join();
  [at, shown, scale] = [place, panes, scaleOf(views[place].map((one) => one.item))];
  const figures = panes.map(({ pen, label, text }) => pane(pen, label, text));
  if (panes.length === 2) {
    const [a, b] = panes;
    const mean = a.grey.reduce((sum, grey, i) => sum + Math.abs(b.grey[i] - grey), 0) / a.grey.length;
    const pen = make("canvas", { width: a.pen.canvas.width, height: a.pen.canvas.height }).getContext("2d");
    shown = [a, b, { grey: b.grey, minus: a.grey, pen }];
    figures.push(pane(pen, "B minus A", `Mid-grey where equal; apart by ${mean.toFixed(1)} of 255 in the mean.`));
    figures[2].hidden = !element("difference").checked;
  }
  element("panes").replaceChildren(...figures);
  element("differing").hidden = panes.length < 2;
  element("view-title").textContent = `${panes.length === 2 ? "A and B, image" : "Image"} ${panes[0].item.index}`;
  [element("previous").disabled, element("next").disabled] = [at === 0, at === views.length - 1];
  settleWindow();
  if (before === [scale.low, scale.high, scale.unit].join()) draw();
  else reset();
}

const reset = () => set((scale.low + scale.high) / 2, scale.high - scale.low);

/** Open a view of several: each a list of one image or two, { item, label, text }. */
export async function open(several, place) {
  [views, scale] = [several, null];
  await show(place);
  element("view").showModal();
}

level.addEventListener("input", draw);
width.addEventListener("input", draw);
element("reset").addEventListener("click", reset);
element("previous").addEventListener("click", () => show(at - 1));
element("next").addEventListener("click", () => show(at + 1));
element("difference").addEventListener("change", ({ target }) => (element("panes").children[2].hidden = !target.checked));
element("panes").addEventListener("pointerdown", (event) => event.target.setPointerCapture(event.pointerId));
element("panes").addEventListener("pointermove", (event) => {
  if (!event.buttons || event.target.localName !== "canvas") return;
  const step = (scale.high - scale.low) / DRAG;
  set(Number(level.value) + event.movementY * step, Number(width.value) + event.movementX * step);
});
