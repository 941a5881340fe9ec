// Pointer to viewer. Left drag or one finger: window and level. Right or Shift drag, middle button: move.
// Wheel or two fingers: enlarge around the pointer. A tap does nothing, or sets a mark where marks are on.

const TAP = 6; // CSS pixels a finger may slip and still tap

export function listenTo(viewer, { marking, onTap, onPoint }) {
  const canvas = viewer.canvas;
  const pointers = new Map();
  let gesture = null; // null, "window", "move", "pinch", or "over" until every finger is up
  let travelled = 0;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  // The pointers are followed here, so the browser shall make no gesture of the same fingers: after a swift drag its
  // fling would swallow the next tap, on whatever button.
  canvas.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // no text selection, no drag of the page; and so the focus is set by hand
    canvas.parentElement.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    if (pointers.size === 1) {
      gesture = event.button !== 0 || event.shiftKey ? "move" : "window";
      travelled = 0;
    } else gesture = pointers.size === 2 ? "pinch" : "over";
  });

  canvas.addEventListener("pointerleave", () => onPoint(null));
  canvas.addEventListener("pointermove", (event) => {
    onPoint(place(event));
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    if (gesture === "pinch") pinch(event.pointerId, before, now);
    pointers.set(event.pointerId, now);
    const slipping = travelled < TAP;
    travelled += Math.hypot(dx, dy);
    if (slipping && travelled < TAP) return;
    if (gesture === "window") viewer.dragWindow(dx, dy);
    if (gesture === "move") viewer.pan(dx, dy);
  });

  function pinch(moved, before, now) {
    const [other] = [...pointers].filter(([id]) => id !== moved).map(([, where]) => where);
    const distance = (a, b) => Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 1);
    viewer.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    viewer.zoomAt(distance(now, other) / distance(before, other), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  const lift = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    const tapped = event.type === "pointerup" && gesture === "window" && travelled < TAP;
    if (tapped && marking()) onTap(...place(event));
    gesture = pointers.size ? "over" : null;
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1;
      viewer.zoomAt(Math.exp(-Math.max(Math.min(event.deltaY * lines, 200), -200) / 400), ...place(event));
    },
    { passive: false },
  );
}
