// Drafts on their way to the server: kept in the browser at once, sent when the reader pauses, the newest only.

import { forgetDraft, keepDraft } from "./drafts.js";

const QUIET = 500;

export class Autosave {
  constructor(server, { onSaving, onSaved, onRefused }) {
    Object.assign(this, { server, onSaving, onSaved, onRefused });
    this.newest = null;
    this.sending = null;
  }

  change(id, draft) {
    keepDraft(id, draft);
    this.newest = [id, draft];
    this.onSaving();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), QUIET);
  }

  /** Send what has not been sent, now. */
  async flush() {
    clearTimeout(this.timer);
    if (this.sending) return;
    const stopped = (this.sending = new AbortController());
    try {
      while (this.newest) {
        const [id, draft] = this.newest;
        this.newest = null;
        await this.server.draft(id, draft, stopped.signal);
        forgetDraft(id, draft.revision);
      }
      this.onSaved();
    } catch (error) {
      if (!stopped.signal.aborted) this.onRefused(error);
    } finally {
      if (this.sending === stopped) this.sending = null;
    }
  }

  /** Drop drafts, because the answer itself is sent now. */
  stop() {
    clearTimeout(this.timer);
    this.newest = null;
    this.sending?.abort();
    this.sending = null;
  }
}
