// Talking to the server: its token, if it has one, comes with the link and stays in this tab.

const KEY = "phonybrains token";

/** The server has refused: `status` and a sentence that says why. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const given = /^#token=(.+)$/.exec(location.hash);
if (given) {
  sessionStorage.setItem(KEY, decodeURIComponent(given[1]));
  history.replaceState(null, "", location.pathname);
}

export const token = () => sessionStorage.getItem(KEY) ?? "";
export const setToken = (text) => sessionStorage.setItem(KEY, text);

async function send(path, method, body, signal) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  const options = { method, headers, signal, cache: "no-store", redirect: "error" };
  if (body !== undefined) options.body = JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused(0, "The server cannot be reached. Is it still running?");
  }
  if (!response.ok) throw new Refused(response.status, await reasonOf(response));
  return response;
}

async function reasonOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered with ${response.status}.`;
  }
}

export const generate = async (body, signal) =>
  (await send("/v1/images/generations", "POST", body, signal)).json();

export const imageSet = async (id) => (await send(`/playground/answers/${id}.zip`, "GET")).blob();

export const dicom = async (id, index) => (await send(`/playground/answers/${id}/${index}.dcm`, "GET")).blob();

export const film = async (id, index) => (await send(`/playground/answers/${id}/${index}/film`, "POST", {})).blob();

/** An image of an answer, as long as the server keeps it. */
export const image = async (place) => (await send(`/images/${place}.png`, "GET")).blob();

/** A picture as the model is shown it. */
export const picture = async (b64) => (await send("/playground/edits/picture", "POST", { image: b64 })).blob();

export const edit = async (body, signal) => (await send("/playground/edits/edit", "POST", body, signal)).json();
