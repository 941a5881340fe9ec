// Seconds an image has been looked at: time in which the page is hidden does not count.

export class Stopwatch {
  constructor() {
    this.before = 0;
    this.since = null;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.resume()));
    this.running = false;
  }

  start(seconds = 0) {
    this.before = seconds;
    this.running = true;
    this.since = document.hidden ? null : performance.now();
  }

  stop() {
    this.before = this.seconds;
    this.since = null;
  }

  resume() {
    if (this.running) this.since ??= performance.now();
  }

  get seconds() {
    const now = this.since === null ? 0 : (performance.now() - this.since) / 1000;
    return Math.round((this.before + now) * 10) / 10;
  }
}
