// The answer form: what was entered so far, and putting back what was entered before.

export class AnswerForm {
  constructor(form, onChange) {
    this.form = form;
    this.slider = form.querySelector("#confidence");
    this.output = form.querySelector("#sure");
    this.clearButton = form.querySelector("#unsure");
    this.text = form.querySelector("#description");
    this.problem = form.querySelector("#problem");
    this.confidence = null;
    this.onChange = onChange;
    form.addEventListener("input", (event) => {
      if (event.target === this.slider) this.#showConfidence(Number(this.slider.value));
      this.#changed();
    });
    // A slider that is touched where it already stands has been set, though its value has not changed.
    this.slider.addEventListener("pointerup", () => this.setConfidence(Number(this.slider.value)));
    this.clearButton.addEventListener("click", () => {
      this.setConfidence(null);
      this.slider.focus();
    });
  }

  get value() {
    const call = this.form.elements.call.value || null;
    const description = this.text.value.replaceAll("\0", "");
    return { call, confidence: this.confidence, description: description.toWellFormed?.() ?? description };
  }

  fill({ call = null, confidence = null, description = "" } = {}) {
    for (const radio of this.form.elements.call) radio.checked = radio.value === call;
    this.text.value = description;
    this.#showConfidence(confidence);
    this.problem.textContent = "";
  }

  setCall(call) {
    for (const radio of this.form.elements.call) radio.checked = radio.value === call;
    this.#changed();
  }

  setConfidence(confidence) {
    if (confidence === this.confidence) return;
    this.#showConfidence(confidence);
    this.#changed();
  }

  #showConfidence(confidence) {
    const given = confidence !== null;
    this.confidence = confidence;
    this.slider.value = given ? confidence : 50;
    this.slider.classList.toggle("unset", !given);
    this.output.classList.toggle("given", given);
    this.output.textContent = given ? confidence : "not given · 0 guess, 100 certain";
    this.slider.setAttribute("aria-valuetext", given ? `${confidence} of 100` : "not given");
    this.clearButton.hidden = !given;
  }

  #changed() {
    this.problem.textContent = "";
    this.onChange();
  }
}
