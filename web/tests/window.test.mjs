// The native window under Xvfb, in one world with the page: the page is who sees what the window's pilot does.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { courseTo, judge, look, openBrowser, pictures, programs, register, startWorld, until, visit } from "./world.mjs";

const run = promisify(execFile);
const DISPLAY = process.env.SIDEREAL_TEST_DISPLAY;
const skip = DISPLAY ? false : "there is no Xvfb with xdotool (Debian: apt-get install xvfb xauth xdotool imagemagick mesa-vulkan-drivers)";

let world;
let browser;
let client;

before(async () => {
  if (skip) return;
  world = await startWorld("--seed", "7");
  browser = await openBrowser();
});

after(async () => {
  client?.kill("SIGTERM");
  await browser?.close();
  await world?.stop();
});

/// The window's keyboard.
class Keys {
  #held = new Set();

  async #send(...words) {
    await run("xdotool", words, { env: { ...process.env, DISPLAY } });
  }

  async hold(...keys) {
    for (const key of [...this.#held].filter((key) => !keys.includes(key))) {
      this.#held.delete(key);
      await this.#send("keyup", key);
    }
    for (const key of keys.filter((key) => !this.#held.has(key))) {
      this.#held.add(key);
      await this.#send("keydown", key);
    }
  }

  tap(key) {
    return this.#send("key", key);
  }

  type(text) {
    return this.#send("type", "--delay", "60", text);
  }

  /// There is no window manager to give the keyboard to the window.
  aim() {
    return this.#send("search", "--sync", "--name", "Sidereal", "windowfocus", "mousemove", "320", "200");
  }
}

test("in the window a pilot flies, shoots, crosses a border, docks and talks, and the page sees it", { skip }, async () => {
  const eve = await visit(browser, world.url, { width: 360, height: 360 });
  await register(eve.page, "eve");
  await until(eve.page, "eve flies", (seen) => seen.state === "InSpace" && seen.own?.name === "eve");

  const picture = join(pictures, "window-docked.png");
  const options = ["--http", world.url.replace(/\/$/, ""), "--user", "nat", "--password", "correct horse battery", "--register"];
  const settings = join(pictures, "window-settings.json");
  // As large as the screen, and still, so that the own ship is in the middle.
  writeFileSync(settings, JSON.stringify({ version: 1, window: [640, 400], "reduced-motion": true }));
  client = spawn(join(programs, "sidereal-client"), [...options, "--settings", settings], {
    env: { ...process.env, DISPLAY, WAYLAND_DISPLAY: "" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const ended = new Promise((resolve) => client.once("exit", resolve));
  const nat = (seen) => seen.players.find((player) => player.name === "nat");
  const came = await until(eve.page, "nat is seen", (seen) => nat(seen) !== undefined);
  assert.ok(nat(came).speed < 1, "nat is at rest");

  const keys = new Keys();
  await keys.aim();
  await keys.hold("space");
  await until(eve.page, "nat's shots are seen", (seen) => seen.shots > 0, 40);
  await keys.hold();

  // The borders of the shards meet in the middle of the world.
  const flyTo = async (x, y, there) => {
    const end = Date.now() + 180_000;
    for (;;) {
      const seen = nat(await look(eve.page));
      assert.ok(seen, "nat is out of sight");
      if (there(seen)) break;
      assert.ok(Date.now() < end, `nat does not come to (${x}, ${y}): ${JSON.stringify(seen)}`);
      const course = courseTo(seen, x, y);
      await keys.hold(...course);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    await keys.hold();
  };
  await flyTo(-120, -120, (seen) => seen.x < -40 && seen.y < -40);
  await flyTo(283, 283, (seen) => Math.hypot(seen.x - 283, seen.y - 283) < 110);
  await keys.hold("x");
  await until(eve.page, "nat stands still", (seen) => nat(seen).speed < 2);
  await keys.hold();

  await keys.tap("Return");
  await keys.type("hello from the window");
  await keys.tap("Return");
  await until(eve.page, "eve hears nat", (seen) => seen.chat.some(([who, what]) => who === "nat" && what === "hello from the window"));

  await keys.tap("v");
  await until(eve.page, "nat is docked", () => world.said.some((line) => line.includes("deal done") && line.includes("Dock")));
  await run("import", ["-window", "root", picture], { env: { ...process.env, DISPLAY } });
  assert.ok(existsSync(picture));
  const judged = await judge(browser, readFileSync(picture));
  assert.ok(judged.colours > 60, `the window is blank: ${JSON.stringify(judged)}`);
  assert.ok(judged.own > 0.0002, `the own ship is not in the middle: ${JSON.stringify(judged)}`);
  assert.equal(nat(await look(eve.page))?.name, "nat");

  client.kill("SIGTERM");
  assert.equal(await ended, 0);
  client = null;
  assert.deepEqual(eve.complaints, []);
});
