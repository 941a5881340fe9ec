// Talking to the server: what fails for a while is tried again, what is over is said once.

/** Where the study lies: a proxy may show it under a path of its own. */
export const ROOT = new URL("..", import.meta.url).pathname;
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15000;

/** The server has refused for good: `status`, a sentence that says why, and where the reader is, if it said that. */
export class Refused extends Error {
  constructor(status, { error = "", next_state = null }) {
    super(error);
    this.status = status;
    this.state = next_state;
  }
}

export class Server {
  constructor(csrf) {
    this.csrf = csrf;
    this.onWait = () => {}; // (status or 0) when a request has to wait, (null) when it got through
    this.waiting = new Set();
    addEventListener("online", () => this.wake());
  }

  /** Try at once what is waiting to be tried again. */
  wake() {
    for (const resume of [...this.waiting]) resume();
  }

  state() {
    return this.#json("api/state");
  }

  async image(id) {
    return new Int16Array(await this.#send((response) => response.arrayBuffer(), `api/presentations/${id}/image`));
  }

  draft(id, answer, signal) {
    return this.#send(() => null, `api/presentations/${id}/draft`, "PUT", answer, signal);
  }

  answer(id, answer) {
    return this.#json(`api/presentations/${id}/answer`, "POST", answer);
  }

  finish() {
    return this.#json("api/finish", "POST", {});
  }

  #json(path, method, body) {
    return this.#send((response) => response.json(), path, method, body);
  }

  /** Send until there is an answer, and `read` it; a connection that breaks off while it is read counts as none. */
  async #send(read, path, method = "GET", body = undefined, signal = undefined) {
    const options = { method, signal, cache: "no-store", credentials: "same-origin", redirect: "error" };
    options.headers = method === "GET" ? {} : { "Content-Type": "application/json", "X-CSRF-Token": this.csrf };
    if (body !== undefined) options.body = JSON.stringify(body);
    for (let wait = FIRST_WAIT, waited = false; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
      let status = 0;
      let least = 0;
      try {
        const response = await fetch(ROOT + path, options);
        if (response.ok) {
          const answer = await read(response);
          if (waited) this.onWait(null);
          return answer;
        }
        status = response.status;
        least = Number(response.headers.get("Retry-After")) * 1000 || 0;
        const passing = status === 423 || status === 429 || status >= 500;
        if (!passing) throw new Refused(status, await saidIn(response));
      } catch (error) {
        if (error instanceof Refused) throw error;
        if (signal?.aborted) throw error;
      }
      waited = true;
      this.onWait(status);
      await this.#pause(Math.min(Math.max(wait, least), 60000), signal);
    }
  }

  #pause(milliseconds, signal) {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.waiting.delete(end);
        signal?.removeEventListener("abort", end);
        if (signal?.aborted) reject(signal.reason);
        else resolve();
      };
      const timer = setTimeout(end, milliseconds);
      this.waiting.add(end);
      signal?.addEventListener("abort", end);
    });
  }
}

async function saidIn(response) {
  try {
    return (await response.json()) ?? {};
  } catch {
    return {};
  }
}
