// The calls and marks of the image on the screen, so that the last of them can be taken back before the answer is sent.

export class Past {
  begin({ call, marks }) {
    this.states = [{ call, marks }];
  }

  /** Remember a state, if call or marks have changed. */
  note({ call, marks }) {
    const last = this.states.at(-1);
    if (call !== last.call || marks !== last.marks) this.states.push({ call, marks });
  }

  /** The state before the last one, which is forgotten; null where nothing was done. */
  back() {
    if (this.states.length < 2) return null;
    this.states.pop();
    return this.states.at(-1);
  }
}
