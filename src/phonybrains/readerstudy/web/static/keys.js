// Keys of the reading page. Off while writing, in dialogs, and where the reader has turned them off.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 10; // CSS pixels of a drag that one press of an arrow stands for

export function listenToKeys(act) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.target;
    if (target.matches("textarea, input[type=number]")) {
      if (event.key === "Escape") act.stopWriting();
      return;
    }
    if (!act.listening()) return;
    if (press(event, target, act)) event.preventDefault();
  });
}

/** Do what a key stands for; false where the browser's own meaning holds. */
function press(event, target, act) {
  const control = target.closest("button, a, input");
  if (ARROWS[event.key]) return !control?.matches("input") && (arrow(event, act), true);
  if (event.key === "Enter" || event.key === " ") {
    if (control?.matches("button, a") || (event.key === " " && control?.type === "radio")) return false;
    if (!event.repeat) event.key === "Enter" ? act.enter() : act.reset();
    return true;
  }
  if (!act.singleKeys()) return false;
  if (event.key === "+") return act.zoom(1.25), true;
  if (event.key === "-") return act.zoom(0.8), true;
  if (event.repeat) return false;
  const digit = /^(?:Digit|Numpad)([1-5])$/.exec(event.code)?.[1];
  if (digit) return event.shiftKey ? act.confidence(20 * digit) : act.preset(digit - 1), true;
  const name = /^[\x20-\x7e]$/.test(event.key) ? event.key.toLowerCase() : event.code.replace("Key", "").toLowerCase();
  const letters = {
    a: () => act.call("real"),
    s: () => act.call("unclear"),
    d: () => act.call("phony"),
    i: act.invert,
    m: act.mark,
    n: act.pixels,
    z: act.undo,
    0: act.actual,
    w: act.write,
    "=": act.fit,
    "?": act.help,
  };
  if (!Object.hasOwn(letters, name)) return false;
  letters[name]();
  return true;
}

function arrow(event, act) {
  const [dx, dy] = ARROWS[event.key];
  if (event.shiftKey) act.pan(-dx * 3 * STEP, -dy * 3 * STEP);
  else if (act.marking()) act.moveCross(dx, dy);
  else act.window(dx * STEP, dy * STEP);
}
