// A world of real processes, and the browser to play in, for the tests of the page.

import { execFile, spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { promisify } from "node:util";

const required = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: web/test does it`);
  return value;
};

const programs = required("SIDEREAL_PROGRAMS");
const webDir = required("SIDEREAL_WEB_DIR");
const pictures = required("SIDEREAL_PICTURES");
mkdirSync(pictures, { recursive: true });

const { chromium } = createRequire(join(required("SIDEREAL_NODE_MODULES"), "node_modules", "x.js"))("playwright-core");

/// Software rendering, WebTransport, and no requests to the network.
const FLAGS = [
  "--use-gl=angle",
  "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader",
  "--no-sandbox",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/// Starts a world; returns its page's address and a function that ends it.
export async function startWorld(...flags) {
  const folder = mkdtempSync(join(tmpdir(), "sidereal-page-"));
  const world = spawn(
    join(programs, "sidereal-launcher"),
    ["--headless", "--fresh", "--web-dir", webDir, "--data", folder, "--player-port", "0", "--shard-port", "0", "--http-port", "0", "--ops-port", "0"].concat(flags),
    // Including the deals, which the default log leaves out.
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, RUST_LOG: "info,sidereal_server::economy=debug" } },
  );
  const ended = new Promise((resolve) => world.once("exit", resolve));
  const said = [];
  const url = await new Promise((resolve, reject) => {
    for (const stream of [world.stdout, world.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        said.push(line);
        const found = /play in a browser: (http\S+)/.exec(line);
        if (found) resolve(found[1]);
      });
    }
    ended.then((status) => reject(new Error(`the world ended (${status}):\n${said.join("\n")}`)));
  });
  const stop = async () => {
    world.kill("SIGTERM");
    const status = await ended;
    rmSync(folder, { recursive: true, force: true });
    return status;
  };
  return { url, said, stop };
}

export function openBrowser() {
  return chromium.launch({ executablePath: process.env.SIDEREAL_CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/// A player in a page of its own, whose errors are recorded. A player is a `page` that observes, a `keyboard` that
/// steers, the `ship` in the page's view that is steered, and how late (ms) the page shows the keyboard's effect.
export async function visit(browser, url, size = { width: 640, height: 360 }, device = {}) {
  const context = await browser.newContext({ viewport: size, ...device });
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  await page.goto(url);
  return { page, context, complaints, keyboard: page.keyboard, ship: (seen) => seen.own, late_ms: 150 };
}

export const look = (page) => page.evaluate(() => window.sidereal.look());

/// Waits until `is` accepts the player's view. The long timeout is for slow machines.
export async function until(page, what, is, seconds = 90) {
  const end = Date.now() + seconds * 1000;
  let seen = null;
  const notices = new Set();
  while (Date.now() < end) {
    seen = await look(page);
    if (seen && (await is(seen))) return seen;
    seen?.notices.forEach((notice) => notices.add(notice));
    await page.waitForTimeout(30);
  }
  throw new Error(`not within ${seconds} s: ${what}; told: ${[...notices]}; last seen: ${JSON.stringify(seen)}`);
}

export async function register(page, user) {
  await page.fill("#user", user);
  await page.fill("#password", "correct horse battery");
  await page.click("#register");
}

/// The native client on a screen of Xvfb that it fills (`SIDEREAL_TEST_DISPLAY`), and the screen's keyboard.
export class Screen {
  #env = { ...process.env, DISPLAY: required("SIDEREAL_TEST_DISPLAY"), WAYLAND_DISPLAY: "" };
  #size;
  #client;
  #ended;

  constructor(width, height) {
    this.#size = [width, height];
  }

  #run(program, ...words) {
    return promisify(execFile)(program, words, { env: this.#env });
  }

  keyboard = {
    down: (key) => this.#run("xdotool", "keydown", key),
    up: (key) => this.#run("xdotool", "keyup", key),
    press: (key) => this.#run("xdotool", "key", key),
    type: (text) => this.#run("xdotool", "type", "--delay", "60", text),
  };

  /// Starts the client with a new account in `world`. With reduced motion, so that the own ship stays in the middle.
  fly(world, user) {
    const settings = join(pictures, "window-settings.json");
    writeFileSync(settings, JSON.stringify({ version: 1, window: this.#size, "reduced-motion": true }));
    const account = ["--http", world.url.replace(/\/$/, ""), "--user", user, "--password", "correct horse battery", "--register"];
    this.#client = spawn(join(programs, "sidereal-client"), [...account, "--settings", settings], {
      env: this.#env,
      stdio: ["ignore", "inherit", "inherit"],
    });
    this.#ended = new Promise((resolve) => this.#client.once("exit", resolve));
  }

  /// Gives the keyboard focus to the window: there is no window manager.
  aim() {
    const middle = this.#size.map((side) => String(side / 2));
    return this.#run("xdotool", "search", "--sync", "--name", "Sidereal", "windowfocus", "mousemove", ...middle);
  }

  /// Takes a picture.
  async take(name) {
    const path = join(pictures, name);
    await this.#run("import", "-window", "root", path);
    return readFileSync(path);
  }

  /// Ends the client; returns its status.
  async leave() {
    this.#client?.kill("SIGTERM");
    return this.#ended;
  }
}

/// Holds keys of a keyboard, and no others.
export class Hands {
  #keyboard;
  #held = new Set();

  constructor(keyboard) {
    this.#keyboard = keyboard;
  }

  async hold(...keys) {
    for (const key of [...this.#held].filter((key) => !keys.includes(key))) {
      this.#held.delete(key);
      await this.#keyboard.up(key);
    }
    for (const key of keys.filter((key) => !this.#held.has(key))) {
      this.#held.add(key);
      await this.#keyboard.down(key);
    }
  }
}

const turn = (from, to) => Math.atan2(Math.sin(to - from), Math.cos(to - from));

/// How fast a scout turns, radians per second.
const TURN_RATE = 3.4;

/// The keys that move a ship towards (x, y), and the angle between its heading and that course, radians.
function courseTo(ship, x, y) {
  const [dx, dy] = [x - ship.x, y - ship.y];
  const off = turn(ship.angle, Math.atan2(dy, dx));
  // Frames are few and keys are late: no faster than the ship can brake.
  const most = Math.min(120, Math.hypot(dx, dy) * 0.6);
  if (ship.speed > most || Math.abs(off) > 0.8) return [["x"], off];
  return [Math.abs(off) < 0.4 ? ["w"] : [], off];
}

/// Flies to (x, y) with the keys until `there` accepts the ship. Turns by the required angle and then looks again: the
/// view is late, and a turn until its effect is visible would go too far.
export async function flyTo(pilot, x, y, there, seconds = 300) {
  const hands = new Hands(pilot.keyboard);
  let seenFrom = 0;
  try {
    await until(
      pilot.page,
      `at (${x}, ${y})`,
      async (seen) => {
        const ship = pilot.ship(seen);
        if (!ship) throw new Error(`the ship is gone: ${JSON.stringify(seen.notices)}`);
        if (there(ship, seen)) return true;
        const [keys, off] = courseTo(ship, x, y);
        if (Math.abs(off) > 0.2 && Date.now() >= seenFrom) {
          await hands.hold(...keys, off > 0 ? "a" : "d");
          await pilot.page.waitForTimeout((Math.abs(off) / TURN_RATE) * 1000);
          seenFrom = Date.now() + pilot.late_ms;
        }
        await hands.hold(...keys);
        return false;
      },
      seconds,
    );
  } finally {
    await hands.hold();
  }
}

/// Brakes until the ship stands still.
async function brake(pilot) {
  const hands = new Hands(pilot.keyboard);
  await hands.hold("x");
  const still = await until(pilot.page, "the ship stands still", (seen) => pilot.ship(seen).speed < 2);
  await hands.hold();
  return still;
}

/// Flies to the station at (x, y) until `there` accepts the ship, brakes and docks. After a refusal it retries, three
/// times in all. Returns the views when the ship stood still and when it was `docked`.
export async function dockAt(pilot, x, y, there, docked) {
  for (let tries = 3; ; tries -= 1) {
    await flyTo(pilot, x, y, there);
    const still = await brake(pilot);
    await pilot.keyboard.press("v");
    try {
      return [still, await until(pilot.page, "the ship is docked", docked, 20)];
    } catch (error) {
      if (tries === 1) throw error;
    }
  }
}

/// Takes a picture of the page, to be looked at.
export function takePicture(page, name) {
  return page.screenshot({ path: join(pictures, name) });
}

/// Takes pictures (PNG) with `take` until one is not blank and shows the own ship in the middle: a ship needs a second
/// of game time to appear, and a slow machine has few frames.
export async function seesOwnShip(browser, take, share, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const picture = await judge(browser, await take());
    if (picture.colours > 60 && picture.own > share) return;
    if (Date.now() > end) throw new Error(`the picture is blank, or the ship is not in it: ${JSON.stringify(picture)}`);
  }
}

/// Judges a picture (PNG) in a page of its own: the number of colours, and the share of the middle's pixels (a third of
/// each side) that have the own ship's.
export async function judge(browser, png) {
  const bench = await browser.newPage();
  try {
    return await bench.evaluate(async (base64) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      const { width, height } = picture;
      const context = new OffscreenCanvas(width, height).getContext("2d");
      context.drawImage(picture, 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      const colours = new Set();
      let [own, middle] = [0, 0];
      for (let at = 0; at < data.length; at += 4) {
        const [red, green, blue] = data.slice(at, at + 3);
        colours.add((red >> 3) * 1024 + (green >> 3) * 32 + (blue >> 3));
        const [x, y] = [(at / 4) % width, Math.floor(at / 4 / width)];
        if (Math.abs(x - width / 2) > width / 6 || Math.abs(y - height / 2) > height / 6) continue;
        middle += 1;
        if (blue > 150 && blue > red + 60 && green > red + 20) own += 1;
      }
      return { colours: colours.size, own: own / middle };
    }, png.toString("base64"));
  } finally {
    await bench.close();
  }
}
