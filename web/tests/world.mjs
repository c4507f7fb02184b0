// A world of real processes, and the browser to play in, for the tests of the page.

import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const required = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: web/test does it`);
  return value;
};

export const programs = required("SIDEREAL_PROGRAMS");
const webDir = required("SIDEREAL_WEB_DIR");
export const pictures = required("SIDEREAL_PICTURES");
mkdirSync(pictures, { recursive: true });

const { chromium } = createRequire(join(required("SIDEREAL_NODE_MODULES"), "node_modules", "x.js"))("playwright-core");

/// Software rendering, WebTransport, and nothing that looks for the network.
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

/// Starts a world; gives its page's address and how to end it.
export async function startWorld(...flags) {
  const folder = mkdtempSync(join(tmpdir(), "sidereal-page-"));
  const world = spawn(
    join(programs, "sidereal-launcher"),
    ["--headless", "--fresh", "--web-dir", webDir, "--data", folder, "--player-port", "0", "--shard-port", "0", "--http-port", "0"].concat(flags),
    { stdio: ["ignore", "pipe", "pipe"] },
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

/// A page of a visitor of its own, whose complaints are kept.
export async function visit(browser, url, size = { width: 640, height: 360 }) {
  const context = await browser.newContext({ viewport: size });
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  await page.goto(url);
  return { page, context, complaints };
}

export const look = (page) => page.evaluate(() => window.sidereal.look());

/// Waits until what the player sees is as `is` says. How long is for machines that are slow, not for what is tested.
export async function until(page, what, is, seconds = 90) {
  const end = Date.now() + seconds * 1000;
  let seen = null;
  const notices = new Set();
  while (Date.now() < end) {
    seen = await look(page);
    if (seen && is(seen)) return seen;
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

/// Holds the keys in `held` and no others.
export class Hands {
  #page;
  #held = new Set();

  constructor(page) {
    this.#page = page;
  }

  async hold(...keys) {
    for (const key of [...this.#held].filter((key) => !keys.includes(key))) {
      this.#held.delete(key);
      await this.#page.keyboard.up(key);
    }
    for (const key of keys.filter((key) => !this.#held.has(key))) {
      this.#held.add(key);
      await this.#page.keyboard.down(key);
    }
  }
}

const turn = (from, to) => Math.atan2(Math.sin(to - from), Math.cos(to - from));

/// The keys that lead a ship from where it is seen to (x, y).
export function courseTo(ship, x, y) {
  const [dx, dy] = [x - ship.x, y - ship.y];
  const off = turn(ship.angle, Math.atan2(dy, dx));
  const keys = [];
  if (Math.abs(off) > 0.25) keys.push(off > 0 ? "a" : "d");
  // Frames are few and the hand is slow: no faster than can be stopped in time.
  const most = Math.min(120, Math.hypot(dx, dy) * 0.6);
  if (ship.speed > most || Math.abs(off) > 0.8) keys.push("x");
  else if (Math.abs(off) < 0.4) keys.push("w");
  return keys;
}

/// Flies to (x, y) with the keys, until `there`.
export async function flyTo(page, x, y, there, seconds = 120) {
  const hands = new Hands(page);
  try {
    return await until(
      page,
      `at (${x}, ${y})`,
      (seen) => {
        if (!seen.own) throw new Error(`the ship is gone: ${JSON.stringify(seen.notices)}`);
        if (there(seen)) return true;
        hands.hold(...courseTo(seen.own, x, y));
        return false;
      },
      seconds,
    );
  } finally {
    await hands.hold();
  }
}

/// Flies to the station at (x, y), brakes and docks there, as a person would: who is refused tries again.
export async function dockAt(page, x, y) {
  const hands = new Hands(page);
  await flyTo(page, x, y, (seen) => seen.in_reach && seen.own.speed < 50);
  await hands.hold("x");
  const still = await until(page, "the ship stands still", (seen) => seen.own.speed < 2);
  await hands.hold();
  for (let tries = 1; ; tries += 1) {
    await page.keyboard.press("v");
    try {
      return [still, await until(page, "the ship is docked", (seen) => seen.docked !== null, 20)];
    } catch (error) {
      if (tries === 3) throw error;
    }
  }
}

/// Takes a picture of the page and judges it.
export async function takePicture(browser, page, name) {
  return judge(browser, await page.screenshot({ path: join(pictures, name) }));
}

/// Judges a picture (PNG), in a page of its own: how many colours there are, and what share of the pixels in the middle
/// (a third of each side) has the own ship's.
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
