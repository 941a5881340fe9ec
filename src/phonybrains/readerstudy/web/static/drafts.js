// What was entered and not yet acknowledged, kept in this browser too: a closed tab or a dead server loses nothing.

const PREFIX = "phonybrains:";
const KEPT_DAYS = 30;

export function keepDraft(id, draft) {
  try {
    localStorage.setItem(PREFIX + id, JSON.stringify({ ...draft, kept: Date.now() }));
  } catch {
    // A full or forbidden store: the answer is still in memory, and on its way.
  }
}

export function keptDraft(id) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + id));
  } catch {
    return null;
  }
}

/** Forget a draft, unless a later revision has been kept meanwhile. */
export function forgetDraft(id, revision = Infinity) {
  try {
    if ((keptDraft(id)?.revision ?? 0) <= revision) localStorage.removeItem(PREFIX + id);
  } catch {
    // Nothing was kept.
  }
}

export function forgetOldDrafts() {
  try {
    const oldest = Date.now() - KEPT_DAYS * 86400000;
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith(PREFIX) && !(JSON.parse(localStorage.getItem(key))?.kept > oldest)) localStorage.removeItem(key);
    }
  } catch {
    // Nothing can be read, so nothing is kept.
  }
}

export function keepSetting(name, value) {
  try {
    localStorage.setItem(`${PREFIX}setting:${name}`, JSON.stringify({ value, kept: Number.MAX_SAFE_INTEGER }));
  } catch {
    // The setting lasts as long as the page.
  }
}

export function setting(name, otherwise) {
  return keptDraft(`setting:${name}`)?.value ?? otherwise;
}
