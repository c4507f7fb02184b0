// The native window under Xvfb, in one world with the page: the page observes the ship of the window's player.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  Hands,
  Screen,
  dockAt,
  flyTo,
  judge,
  look,
  openBrowser,
  register,
  seesOwnShip,
  startWorld,
  until,
  visit,
} from "./world.mjs";

const screen = new Screen(640, 400);
let world;
let browser;

before(async () => {
  world = await startWorld("--seed", "7");
  browser = await openBrowser();
});

after(async () => {
  await screen.leave();
  await browser?.close();
  await world?.stop();
});

test("in the window a pilot flies, shoots, crosses a border, docks and talks, and the page sees it", async () => {
  const eve = await visit(browser, world.url, { width: 360, height: 360 });
  await register(eve.page, "eve");
  await until(eve.page, "eve flies", (seen) => seen.state === "InSpace" && seen.own?.name === "eve");

  screen.fly(world, "nat");
  const ship = (seen) => seen.players.find((player) => player.name === "nat");
  const nat = { page: eve.page, keyboard: screen.keyboard, ship, late_ms: 500 };
  const came = await until(eve.page, "nat is seen", (seen) => ship(seen) !== undefined);
  assert.ok(ship(came).speed < 1, "nat is at rest");

  await screen.aim();
  await seesOwnShip(browser, () => screen.take("window-space.png"), 0.001);
  const hands = new Hands(screen.keyboard);
  await hands.hold("space");
  await until(eve.page, "nat's shots are seen", (seen) => seen.shots > 0);
  await hands.hold();

  await screen.keyboard.press("Return");
  await screen.keyboard.type("hello from the window");
  await screen.keyboard.press("Return");
  await until(eve.page, "eve hears nat", (seen) => seen.chat.some(([who, what]) => who === "nat" && what === "hello from the window"));

  // The borders of the shards meet in the middle of the world.
  await flyTo(nat, -120, -120, (ship) => ship.x < -40 && ship.y < -40);
  await screen.take("window-border.png");
  // Near enough to dock, and so slow that the ship is still in range when it has stopped.
  const inReach = (ship) => Math.hypot(ship.x - 283, ship.y - 283) < 100 && ship.speed < 30;
  await dockAt(nat, 283, 283, inReach, () => world.said.some((line) => line.includes("deal done") && line.includes("Dock")));
  const docked = await judge(browser, await screen.take("window-docked.png"));
  assert.ok(docked.colours > 60, `the window is blank: ${JSON.stringify(docked)}`);
  assert.equal(ship(await look(eve.page))?.name, "nat");

  assert.equal(await screen.leave(), 0);
  assert.deepEqual(eve.complaints, []);
});
