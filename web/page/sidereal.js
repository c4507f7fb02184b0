// The page of the browser client: log in, load, play, and report errors. It uses the server that it was loaded from.
//
// The program is loaded while the player types. The event `sidereal-state` reports its state, `sidereal-session` a new
// session token; `sidereal.look()` in the console returns more.

import init, { fly, look } from "./sidereal_web.js";

const KEY = "sidereal.session";
const PROGRAM = "sidereal_web_bg.wasm";
const ANSWERS_WITHIN_MS = 30_000;

const $ = (id) => document.getElementById(id);
const timings = { loaded_ms: 0, program_ms: 0, asked_ms: 0, flying_ms: 0 };

// Sessions. In the tab's storage by default; in the device's if the player chooses to stay logged in.

function session() {
  for (const store of [sessionStorage, localStorage]) {
    try {
      const kept = JSON.parse(store.getItem(KEY));
      if (kept?.token && kept?.user) return kept;
    } catch {
      store.removeItem(KEY);
    }
  }
  return null;
}

function keep(user, token, stay) {
  forget();
  (stay ? localStorage : sessionStorage).setItem(KEY, JSON.stringify({ user, token }));
}

/// Replaces the stored token by `token`, wherever it is stored. A token that is not stored belongs to another session.
function rotate(old, token) {
  for (const store of [sessionStorage, localStorage]) {
    try {
      const kept = JSON.parse(store.getItem(KEY));
      if (kept?.token === old) store.setItem(KEY, JSON.stringify({ ...kept, token }));
    } catch {
      store.removeItem(KEY);
    }
  }
}

function forget() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

// The server.

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function post(path, body, headers = {}) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(ANSWERS_WITHIN_MS),
    });
  } catch {
    throw new Refusal(0, "The server does not answer. Is it running? Try again in a moment.");
  }
  const text = await response.text();
  if (response.ok) return text;
  let said;
  try {
    said = JSON.parse(text).error;
  } catch {
    said = null;
  }
  throw new Refusal(response.status, said ?? `The server answers with status ${response.status}. Try again in a moment.`);
}

const bearer = (token) => ({ authorization: `Bearer ${token}` });

// The program, loaded once, with its progress.

let program = null;

function loadProgram() {
  program ??= loadNow().catch((error) => {
    program = null;
    throw error;
  });
  return program;
}

async function loadNow() {
  const [build, response] = await Promise.all([
    fetch("build.json", { cache: "no-cache" }).then((answer) => answer.json()),
    fetch(PROGRAM, { cache: "no-cache" }),
  ]);
  if (!response.ok) throw new Error(`the game's program answers with status ${response.status}`);
  let loaded = 0;
  const counted = response.body.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        loaded += chunk.byteLength;
        $("progress").value = Math.min(loaded / build.wasm_bytes, 1);
        controller.enqueue(chunk);
      },
    }),
  );
  const headers = { "content-type": "application/wasm" };
  const module = await WebAssembly.compileStreaming(new Response(counted, { headers }));
  timings.program_ms = performance.now();
  return module;
}

// What is displayed.

function show(part) {
  for (const id of ["enter", "back", "loading"]) $(id).hidden = id !== part;
}

function say(text) {
  $("message").textContent = text ?? "";
  $("message").hidden = !text;
}

function step(text) {
  $("step").textContent = text;
}

function openDoor(message) {
  say(message);
  $("door").hidden = false;
  const kept = session();
  if (kept) {
    $("name").textContent = kept.user;
    show("back");
    $("again").focus();
  } else {
    show("enter");
    $("user").focus();
  }
}

/// The feature that this browser lacks, in words; null when the game can run.
function missing() {
  if (!window.isSecureContext) {
    return (
      "Browsers open the game's connection (WebTransport) on secure pages only: use https, or localhost on the " +
      "machine that the server runs on."
    );
  }
  if (!("WebTransport" in window)) {
    return "This browser has no WebTransport, which the game needs: use a current Chrome, Edge, Firefox or Safari.";
  }
  if (typeof WebAssembly?.compileStreaming !== "function") return "This browser has no WebAssembly: use a current one.";
  if (!document.createElement("canvas").getContext("webgl2")) {
    return "This browser has no WebGL 2 here: switch on hardware acceleration in its settings, or use another one.";
  }
  return null;
}

// The way in.

let started = false;

async function start(answer) {
  // The program runs once in a page's life: the next start reloads the page.
  if (started) {
    location.reload();
    return;
  }
  show("loading");
  step("Loading the game");
  const module = await loadProgram();
  step("Starting");
  await init({ module_or_path: module });
  started = true;
  const canvas = $("window");
  canvas.hidden = false;
  fly(answer, location.origin, "#window", Math.random());
  step("Connecting");
  canvas.focus();
}

async function enter(event) {
  event.preventDefault();
  const user = $("user").value;
  const password = $("password").value;
  const isNew = event.submitter?.value === "register";
  busy(true);
  say(null);
  timings.asked_ms = performance.now();
  try {
    if (isNew) {
      // The same key again after a lost answer creates no second account.
      enter.key ??= crypto.randomUUID();
      await post("/api/register", { user, password }, { "idempotency-key": enter.key });
      enter.key = null;
    }
    const answer = await post("/api/login", { user, password });
    const { session_token: token } = JSON.parse(answer);
    if (token) keep(user, token, $("stay").checked);
    await start(answer);
  } catch (error) {
    if (error instanceof Refusal && error.status > 0) enter.key = null;
    openDoor(inWords(error, isNew));
  } finally {
    busy(false);
  }
}

async function comeBack() {
  const kept = session();
  if (!kept) return openDoor(null);
  say(null);
  show("loading");
  step("Asking for a ticket");
  timings.asked_ms = performance.now();
  try {
    // Another token than before, stored before it is used: until then the old one is valid.
    const { session_token: token } = JSON.parse(await post("/api/refresh", {}, bearer(kept.token)));
    rotate(kept.token, token);
    const answer = JSON.parse(await post("/api/ticket", {}, bearer(token)));
    // A ticket's answer contains no token: the one that was sent stays valid.
    await start(JSON.stringify({ ...answer, session_token: token }));
  } catch (error) {
    if (error.status === 401) forget();
    openDoor(inWords(error));
  }
}

async function logOut() {
  const kept = session();
  forget();
  if (kept) await post("/api/logout", {}, bearer(kept.token)).catch(() => {});
  openDoor(null);
}

function inWords(error, isNew) {
  if (error instanceof Refusal) {
    if (error.status === 401 && !isNew) return `${error.message}\nA new pilot? Choose “New pilot”.`;
    return error.message;
  }
  console.error(error);
  return `The game could not be started: ${error?.message ?? error}`;
}

function busy(is) {
  for (const id of ["login", "register"]) $(id).disabled = is;
}

// Events of the game.

function hear({ detail: { state, reason } }) {
  document.body.dataset.state = state;
  if (state === "in-space") {
    timings.flying_ms ||= performance.now();
    $("door").hidden = true;
    $("window").focus();
  }
  if (state === "rejected" || state === "lost") {
    const isOld = reason.startsWith("protocol versions differ");
    openDoor(isOld ? "The server was updated: reload this page." : `The flight is over: ${reason}`);
  }
}

/// The program has ended for good: a new page continues with the same ship.
function stopped(event) {
  if (!started || !(event.error instanceof WebAssembly.RuntimeError)) return;
  openDoor("The game stopped by a fault of its own. Your ship is still there: fly on.");
}

window.addEventListener("sidereal-state", hear);
window.addEventListener("sidereal-session", ({ detail: { old, token } }) => rotate(old, token));
window.addEventListener("error", stopped);
$("enter").addEventListener("submit", enter);
$("again").addEventListener("click", comeBack);
$("logout").addEventListener("click", logOut);
$("window").addEventListener("pointerdown", () => $("window").focus());
$("window").addEventListener("contextmenu", (event) => event.preventDefault());

/// For the console, and for tests.
window.sidereal = {
  look() {
    const seen = started ? look() : "";
    return seen ? JSON.parse(seen) : null;
  },
  timings,
};

timings.loaded_ms = performance.now();
const lacking = missing();
if (lacking) {
  say(lacking);
} else {
  loadProgram().catch((error) => console.error(error));
  // A reloaded page continues automatically; otherwise the player is asked first.
  const isReload = performance.getEntriesByType("navigation")[0]?.type === "reload";
  if (isReload && session()) comeBack();
  else openDoor(null);
}
