// The reading: fetch where the reader is, show the image, keep and send what is entered, go on.

import { Autosave } from "./autosave.js";
import { forgetDraft, forgetOldDrafts, keepDraft, keepSetting, keptDraft, setting } from "./drafts.js";
import { AnswerForm } from "./form.js";
import { listenTo } from "./gestures.js";
import { listenToKeys } from "./keys.js";
import * as page from "./page.js";
import { Past } from "./past.js";
import { ROOT, Server } from "./server.js";
import { Stopwatch } from "./stopwatch.js";
import { Viewer } from "./viewer.js";

const MOST_MARKS = 20;
const PAUSE_POLL = 10000;

const element = (id) => document.getElementById(id);
const { csrf, width, height } = element("main").dataset;
const server = new Server(csrf);
const viewer = new Viewer(element("image"), Number(width), Number(height));
const form = new AnswerForm(element("answer"), changed);
const watch = new Stopwatch();
const past = new Past();
const autosave = new Autosave(server, {
  onSaving: () => page.showSaved("Saving…"),
  onSaved: () => page.showSaved("Saved"),
  onRefused: refused,
});

let current = null; // the presentation on the screen
let following = null; // the state after a practice answer, until the reader goes on
let revision = 0;
let busy = true; // no answer is taken now
let marking = false;
const prefetched = new Map();

server.onWait = (status) => {
  if (status === 423) page.cover("The study is paused.", "What you entered is kept. This page goes on by itself.");
  else if (status === null) (page.uncover(), page.hideTrouble());
  else page.showTrouble(status);
};

async function enter(state) {
  if (state.state === "finished") return location.assign(`${ROOT}finished`);
  if (state.state === "paused") {
    page.cover("The study is paused.", "Nothing is lost. This page goes on by itself when the study does.");
    return setTimeout(load, PAUSE_POLL);
  }
  page.uncover();
  page.showProgress(state);
  following = null;
  setPart(state.current ? "answer" : "complete");
  if (!state.current) {
    current = null;
    viewer.blank();
    return say("All images are answered.");
  }
  await show(state);
}

async function show(state) {
  busy = element("answer").inert = true;
  current = state.current;
  viewer.blank();
  const pixels = await image(current.id);
  if (pixels.length !== width * height) return page.cover("This image cannot be shown.", "Please tell the person who invited you.");
  setMarking(false);
  page.showPresets(current.presets, choose);
  viewer.show(pixels, current.presets);
  probe();
  restore();
  element("stage").focus({ preventScroll: true });
  say(`Image ${state.done + 1} of ${state.total}`);
  busy = element("answer").inert = false;
  if (state.next) prefetch(state.next);
  if (keptDraft(current.id)?.submitted) await submit();
}

/** Put back what was entered before: from this browser or from the server, whichever is later. */
function restore() {
  const kept = keptDraft(current.id);
  const sent = current.draft;
  const draft = (kept?.revision ?? -1) > (sent?.revision ?? -1) ? kept : sent;
  form.fill(draft ?? {});
  viewer.marks = draft?.marks ?? [];
  revision = draft?.revision ?? 0;
  past.begin(answerNow());
  watch.start(draft?.seconds ?? kept?.seconds ?? 0);
  page.showSaved(draft ? "Saved" : "");
  if (draft && draft === kept && !kept.submitted) autosave.change(current.id, answerNow());
}

function image(id) {
  const waiting = prefetched.get(id);
  prefetched.clear();
  return waiting ? waiting.catch(() => server.image(id)) : server.image(id);
}

function prefetch(id) {
  const waiting = server.image(id);
  waiting.catch(() => {}); // asked for again when it is shown
  prefetched.set(id, waiting);
}

function answerNow() {
  return { ...form.value, marks: viewer.marks, seconds: watch.seconds, revision };
}

function changed() {
  if (busy || !current) return;
  revision += 1;
  past.note(answerNow());
  autosave.change(current.id, answerNow());
}

async function submit() {
  if (busy) return;
  const answer = answerNow();
  if (!answer.call) {
    form.problem.textContent = "Please say first: real, unclear or phony.";
    return;
  }
  busy = element("answer").inert = true;
  const { id } = current;
  autosave.stop();
  keepDraft(id, { ...answer, submitted: true });
  page.showSaved("Saving…");
  const reply = await server.answer(id, answer);
  forgetDraft(id);
  page.showSaved("Saved");
  if (!reply.feedback) return enter(reply.next_state);
  following = reply.next_state;
  page.showFeedback(reply.feedback.truth, answer.call, following.current?.kind === "study");
  setPart("feedback");
}

/** Show one of: the answer form, the feedback after a practice image, the end. */
function setPart(name) {
  for (const part of ["answer", "feedback", "complete"]) element(part).hidden = part !== name;
  for (const tools of document.querySelectorAll(".tools")) tools.hidden = name === "complete";
  if (name !== "answer") element(name).focus({ preventScroll: true });
  if (name === "feedback") say(`${element("truth").textContent} ${element("said").textContent}`);
}

const say = page.say;
const load = () => attempt(async () => enter(await server.state()));
const goOn = () => following && attempt(() => enter(following));
const finish = () => attempt(async () => (await server.finish(), location.assign(`${ROOT}finished`)));

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    refused(error);
  }
}

function refused(error) {
  busy = true;
  const kept = "What you entered is kept in this browser.";
  if (error.status === 401) {
    page.cover("You are signed out.", `${error.message} ${kept}`);
  } else if (error.status === 403) {
    page.cover("Please load this page again.", kept);
  } else if (error.status === 409) {
    tellLoser(error);
  } else if (error.status === 404) {
    setTimeout(load, 1000);
  } else if (error.status === 410) {
    page.cover("This reading is closed.", error.message || "Please ask the person who invited you.");
  } else if (error.status) {
    busy = element("answer").inert = false;
    form.problem.textContent = `This cannot be saved: ${error.message || error.status} Please change it.`;
  } else {
    page.cover("Something went wrong.", `${error} Please load the page again. ${kept}`);
  }
}

/** Another tab or device answered first, and that answer stands: say so where the reading goes on, with what was typed. */
function tellLoser(error) {
  const typed = form.value.description.trim();
  if (current) forgetDraft(current.id);
  attempt(async () => {
    await enter(error.state ?? (await server.state()));
    form.problem.textContent = "The image before was answered in another window; that answer stands.";
    if (typed) form.problem.textContent += ` Not taken, from this window: “${typed}”`;
  });
}

function setMarking(on) {
  marking = on;
  if (!on) viewer.hideCross();
  viewer.draw();
}

function toggleMark(x, y) {
  if (busy || !current) return;
  if (viewer.toggleMark(x, y, MOST_MARKS)) changed();
  say(`${viewer.marks.length} marks`);
}

/** Take back the last call or mark of this image; what is written and how sure stay. */
function undo() {
  const before = !busy && current && past.back();
  if (!before) return say("Nothing to undo");
  viewer.marks = before.marks;
  viewer.draw();
  form.setCall(before.call);
  say(`Undone: ${before.call ?? "no call"}, ${before.marks.length} marks`);
}

function probe(point = null) {
  page.showProbe(point && viewer.probe(...point));
}

function setWindowNumbers() {
  const [width, level] = ["window-width", "window-level"].map((id) => element(id).valueAsNumber);
  if (Number.isFinite(width) && Number.isFinite(level)) viewer.setNumbers(width, level);
  else viewer.draw();
}

function enterKey() {
  if (following) goOn();
  else if (marking && viewer.cross) toggleMark(...viewer.crossOnScreen);
  else if (current) attempt(submit);
}

const choose = (index) => viewer.choose(index);
const actions = {
  listening: () => !page.covered() && !element("help").open,
  singleKeys: () => element("keys-on").checked,
  marking: () => marking,
  enter: enterKey,
  call: (call) => !busy && form.setCall(call),
  confidence: (value) => !busy && form.setConfidence(value),
  preset: choose,
  reset: () => viewer.reset(),
  fit: () => viewer.fit(),
  invert: () => viewer.invert(),
  mark: () => setMarking(!marking),
  undo,
  actual: () => viewer.actualSize(),
  pixels: () => viewer.togglePixels(),
  zoom: (factor) => viewer.zoomAt(factor),
  pan: (dx, dy) => viewer.pan(dx, dy),
  window: (dx, dy) => viewer.dragWindow(dx, dy),
  moveCross: (dx, dy) => (viewer.moveCross(dx, dy), probe(viewer.crossOnScreen)),
  write: () => !busy && element("description").focus(),
  stopWriting: () => element("stage").focus({ preventScroll: true }),
  help: () => element("help").showModal(),
};

viewer.onChange = () => page.showView(viewer, marking);
listenTo(viewer, {
  marking: () => marking,
  onTap: (x, y) => (viewer.hideCross(), toggleMark(x, y)),
  onPoint: probe,
});
listenToKeys(actions);
for (const id of ["window-width", "window-level"]) element(id).addEventListener("change", setWindowNumbers);
for (const name of ["invert", "mark", "undo", "fit", "reset", "actual", "pixels"]) element(name).addEventListener("click", actions[name]);
element("answer").addEventListener("submit", (event) => (event.preventDefault(), attempt(submit)));
element("go-on").addEventListener("click", goOn);
element("finish").addEventListener("click", finish);
element("retry").addEventListener("click", () => server.wake());
element("help-button").addEventListener("click", actions.help);
element("help-close").addEventListener("click", () => element("help").close());
element("keys-on").checked = setting("keys", true);
element("keys-on").addEventListener("change", (event) => keepSetting("keys", event.target.checked));
element("leave").addEventListener("submit", async (event) => {
  event.preventDefault();
  await autosave.flush();
  event.target.submit();
});
document.addEventListener("visibilitychange", () => document.hidden && autosave.flush());
// After a click the keys mean what they always mean; who came by the Tab key stays where they are.
document.addEventListener("click", (event) => {
  const clicked = event.detail > 0 && event.target.closest("button, .calls label, input[type=range]");
  if (clicked && !element("help").open && !page.covered()) element("stage").focus({ preventScroll: true });
});

forgetOldDrafts();
load();
