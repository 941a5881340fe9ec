// What is to be filled: painted on a canvas over the picture, by pointer, or by a rectangle of four numbers.

const COLOUR = "#ffb000";
const MOST_UNDOS = 20;

export class Mask {
  /** canvas: of the model's size; brush() and erasing() tell the tool; changed(pixels) is told after each change. */
  constructor(canvas, brush, erasing, changed) {
    Object.assign(this, { canvas, brush, erasing, changed, before: [], last: null });
    this.pen = canvas.getContext("2d", { willReadFrequently: true });
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.last && this.#draw(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.#end());
  }

  #begin(event) {
    if (event.button) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.#remember();
    this.last = this.#place(event);
    this.#draw(event);
  }

  #draw(event) {
    const here = this.#place(event);
    const pen = Object.assign(this.pen, { lineWidth: this.brush(), lineCap: "round", strokeStyle: COLOUR });
    pen.beginPath();
    pen.moveTo(...this.last);
    pen.lineTo(here[0] + 0.01, here[1]); // a point is drawn too
    pen.stroke();
    this.last = here;
  }

  #end() {
    if (!this.last) return;
    this.last = null;
    this.changed(this.count());
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  #all() {
    return this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  #remember() {
    this.before = [...this.before, this.#all()].slice(-MOST_UNDOS);
    this.pen.globalCompositeOperation = this.erasing() ? "destination-out" : "source-over";
  }

  rectangle(x, y, width, height) {
    this.#remember();
    this.pen.fillStyle = COLOUR;
    this.pen.fillRect(x, y, width, height);
    this.changed(this.count());
  }

  clear() {
    this.#remember();
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.changed(0);
  }

  /** Nothing is painted, and nothing was before. */
  reset() {
    this.clear();
    this.before = [];
  }

  undo() {
    if (this.before.length) this.pen.putImageData(this.before.pop(), 0, 0);
    this.changed(this.count());
  }

  /** How many pixels are painted. */
  count() {
    return this.#all().data.filter((value, i) => i % 4 === 3 && value >= 128).length;
  }

  /** White where it is painted, black elsewhere: a PNG as base64. */
  png() {
    const image = this.#all();
    for (let i = 0; i < image.data.length; i += 4) {
      image.data.fill(image.data[i + 3] >= 128 ? 255 : 0, i, i + 3);
      image.data[i + 3] = 255;
    }
    const { width, height } = this.canvas;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
  }
}
