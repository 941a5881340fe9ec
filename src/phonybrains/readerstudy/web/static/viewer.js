// The image on the screen: int16 pixels through a window of grey levels, enlarged and moved. Only what is seen changes;
// the pixels stay as they came.

const MAX_ZOOM = 16;
const MARK_RADIUS = 13;

export class Viewer {
  constructor(canvas, width, height) {
    this.canvas = canvas;
    this.width = width;
    this.height = height;
    this.context = canvas.getContext("2d", { alpha: false });
    this.grey = Object.assign(document.createElement("canvas"), { width, height });
    this.greyContext = this.grey.getContext("2d", { alpha: false });
    this.imageData = this.greyContext.createImageData(width, height);
    this.greyWords = new Uint32Array(this.imageData.data.buffer);
    this.lookup = new Uint32Array(65536);
    this.pixels = null;
    this.marks = [];
    this.cross = null;
    this.preset = { low: 0, high: 1 };
    this.smooth = true;
    this.onChange = () => {};
    this.reset();
    new ResizeObserver(() => this.#measure()).observe(canvas);
    this.#measure();
  }

  /** Show an image. A preset without limits is the 1st to 99th percentile of the image itself. */
  show(pixels, presets) {
    this.pixels = pixels;
    this.presets = presets.map((preset) => (preset.low === null ? { ...preset, ...percentiles(pixels) } : preset));
    this.marks = [];
    this.cross = null;
    this.reset();
  }

  blank() {
    this.pixels = null;
    this.draw();
  }

  reset() {
    this.inverted = false;
    this.choose(0);
    this.fit();
  }

  choose(index) {
    const preset = this.presets?.[index];
    if (preset) this.setWindow(preset.low, preset.high, index);
  }

  setWindow(low, high, index = null) {
    this.low = low;
    this.high = Math.max(high, low + 1);
    this.chosen = index;
    this.draw(true);
  }

  /** What pixels mean, the same for every image of a modality: value = slope · pixel + intercept. */
  get meaning() {
    return this.presets?.[0] ?? { slope: 1, intercept: 0, unit: "" };
  }

  /** Width and level of the window, as values. */
  get windowNumbers() {
    const { slope, intercept } = this.meaning;
    return { width: (this.high - this.low) * slope, level: ((this.low + this.high) / 2) * slope + intercept };
  }

  setNumbers(width, level) {
    const { slope, intercept } = this.meaning;
    const middle = Math.min(Math.max((level - intercept) / slope, -32768), 32767);
    const half = Math.min(Math.max(width / slope, 1), 131072) / 2;
    this.setWindow(middle - half, middle + half);
  }

  /** The pixel at a point of the canvas: column, row (from 0), and its value; null outside of the image. */
  probe(x, y) {
    const [u, v] = this.toImage(x, y);
    const [column, row] = [Math.floor(u * this.width), Math.floor(v * this.height)];
    if (!this.pixels || column < 0 || row < 0 || column >= this.width || row >= this.height) return null;
    const { slope, intercept, unit } = this.meaning;
    return { column, row, value: this.pixels[row * this.width + column] * slope + intercept, unit };
  }

  /** Drag by (dx, dy) CSS pixels: right is a wider window, down a higher level (a darker image). */
  dragWindow(dx, dy) {
    const base = this.presets?.[0];
    if (!base) return;
    const step = (base.high - base.low) / 300;
    const width = Math.min(Math.max(this.high - this.low + dx * step, 1), 131072);
    const level = Math.min(Math.max((this.low + this.high) / 2 + dy * step, -32768), 32767);
    this.setWindow(level - width / 2, level + width / 2);
  }

  invert() {
    this.inverted = !this.inverted;
    this.draw(true);
  }

  fit() {
    this.zoom = 1;
    this.panX = this.panY = 0;
    this.draw();
  }

  /** One pixel of the image on one of the screen. */
  actualSize() {
    this.zoom = this.#actual;
    this.panX = this.panY = 0;
    this.draw();
  }

  /** Pixels as they are, or smoothed between them. */
  togglePixels() {
    this.smooth = !this.smooth;
    this.draw();
  }

  /** Enlarge by a factor; the point (x, y), in CSS pixels of the canvas, stays where it is. */
  zoomAt(factor, x = this.boxWidth / 2, y = this.boxHeight / 2) {
    const zoom = Math.min(Math.max(this.zoom * factor, Math.min(1, this.#actual)), MAX_ZOOM);
    const ratio = zoom / this.zoom;
    this.panX = (x - this.boxWidth / 2) * (1 - ratio) + this.panX * ratio;
    this.panY = (y - this.boxHeight / 2) * (1 - ratio) + this.panY * ratio;
    this.zoom = zoom;
    this.pan(0, 0);
  }

  /** Move by CSS pixels; an image that is not enlarged stays in the middle. */
  pan(dx, dy) {
    const spareX = Math.max((this.width * this.scale * (this.zoom - 1)) / 2, 0);
    const spareY = Math.max((this.height * this.scale * (this.zoom - 1)) / 2, 0);
    this.panX = Math.min(Math.max(this.panX + dx, -spareX), spareX);
    this.panY = Math.min(Math.max(this.panY + dy, -spareY), spareY);
    this.draw();
  }

  /** Set a mark at a point of the canvas, or remove the one that is there; false where that cannot be. */
  toggleMark(x, y, most) {
    const near = this.marks.findIndex(([u, v]) => {
      const [markX, markY] = this.#toScreen(u, v);
      return Math.hypot(markX - x, markY - y) <= MARK_RADIUS + 7;
    });
    const [u, v] = this.toImage(x, y);
    const inside = u >= 0 && u <= 1 && v >= 0 && v <= 1;
    if (near >= 0) this.marks = this.marks.filter((_, index) => index !== near);
    else if (inside && this.marks.length < most) this.marks = [...this.marks, [round(u), round(v)]];
    else return false;
    this.draw();
    return true;
  }

  /** Move the cross that sets marks by keyboard; it starts in the middle of what is seen. */
  moveCross(dx, dy) {
    const [u, v] = this.cross ?? this.toImage(this.boxWidth / 2, this.boxHeight / 2);
    const clamp = (value) => Math.min(Math.max(value, 0), 1);
    const step = 0.02 / this.zoom;
    this.cross = [clamp(u + dx * step), clamp(v + dy * step)];
    this.draw();
  }

  get crossOnScreen() {
    return this.cross && this.#toScreen(...this.cross);
  }

  hideCross() {
    this.cross = null;
    this.draw();
  }

  toImage(x, y) {
    const size = this.scale * this.zoom;
    return [
      (x - this.boxWidth / 2 - this.panX) / (this.width * size) + 0.5,
      (y - this.boxHeight / 2 - this.panY) / (this.height * size) + 0.5,
    ];
  }

  /** Draw at the next frame, however often it is asked for; `grey` when grey levels have changed. */
  draw(grey = false) {
    this.greyStale ||= grey;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.#paint();
    });
  }

  #toScreen(u, v) {
    const size = this.scale * this.zoom;
    return [
      (u - 0.5) * this.width * size + this.boxWidth / 2 + this.panX,
      (v - 0.5) * this.height * size + this.boxHeight / 2 + this.panY,
    ];
  }

  get #actual() {
    return 1 / (this.scale * this.density);
  }

  #measure() {
    const before = this.scale;
    this.boxWidth = this.canvas.clientWidth;
    this.boxHeight = this.canvas.clientHeight;
    this.density = Math.min(window.devicePixelRatio || 1, 3);
    this.canvas.width = Math.max(1, Math.round(this.boxWidth * this.density));
    this.canvas.height = Math.max(1, Math.round(this.boxHeight * this.density));
    this.scale = Math.max(Math.min(this.boxWidth / this.width, this.boxHeight / this.height), 0.01);
    if (before) {
      this.panX *= this.scale / before;
      this.panY *= this.scale / before;
    }
    this.#paint();
  }

  #paint() {
    const { context, density } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.pixels) {
      if (this.greyStale) this.#applyWindow();
      const size = this.scale * this.zoom * density;
      const [left, top] = this.#toScreen(0, 0);
      context.imageSmoothingEnabled = this.smooth;
      context.imageSmoothingQuality = "high";
      const corner = [Math.round(left * density), Math.round(top * density)];
      context.drawImage(this.grey, ...corner, Math.round(this.width * size), Math.round(this.height * size));
      context.setTransform(density, 0, 0, density, 0, 0);
      for (const [u, v] of this.marks) drawMark(context, ...this.#toScreen(u, v));
      if (this.cross) drawCross(context, ...this.#toScreen(...this.cross));
    }
    this.onChange();
  }

  #applyWindow() {
    const { lookup, pixels, greyWords, low, high, inverted } = this;
    const slope = 255 / (high - low);
    for (let index = 0; index < 65536; index++) {
      let grey = Math.min(Math.max((index - 32768 - low) * slope, 0), 255) | 0;
      if (inverted) grey = 255 - grey;
      lookup[index] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    for (let index = 0; index < pixels.length; index++) greyWords[index] = lookup[pixels[index] + 32768];
    this.greyContext.putImageData(this.imageData, 0, 0);
    this.greyStale = false;
  }
}

function percentiles(pixels) {
  const sorted = Int16Array.from(pixels).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  return { low: at(0.01), high: at(0.99) };
}

function round(value) {
  return Math.round(value * 10000) / 10000;
}

function drawMark(context, x, y) {
  for (const [colour, width] of [["#000", 5], ["#ffd257", 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, MARK_RADIUS, 0, 2 * Math.PI);
    context.stroke();
  }
}

function drawCross(context, x, y) {
  for (const [colour, width] of [["#000", 5], ["#ffd257", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [0, 1]]) {
      context.moveTo(x - 16 * dx, y - 16 * dy);
      context.lineTo(x - 4 * dx, y - 4 * dy);
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 16 * dx, y + 16 * dy);
    }
    context.stroke();
  }
}
