// The page, played in Debian's chromium against a world of real processes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Hands, dockAt, flyTo, look, openBrowser, register, seesOwnShip, startWorld, takePicture, until, visit } from "./world.mjs";

let world;
let browser;
const flying = (seen) => seen.state === "InSpace" && seen.own !== null && seen.own.name !== "";

before(async () => {
  world = await startWorld("--seed", "7");
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await world?.stop();
});

test("a pilot registers, flies, shoots, crosses a border, docks and talks", async () => {
  const ada = await visit(browser, world.url);
  await register(ada.page, "ada");
  const began = await until(ada.page, "ada flies", flying);
  assert.equal(began.own.name, "ada");
  await seesOwnShip(browser, () => takePicture(ada.page, "page-space.png"), 0.001);

  const hands = new Hands(ada.keyboard);
  await hands.hold(" ");
  await until(ada.page, "a shot is seen", (seen) => seen.own_shots > 0);
  await hands.hold();

  // The shards' borders meet in the middle of the world, where ships start.
  await flyTo(ada, -120, -120, (ship) => ship.x < -40 && ship.y < -40);
  await takePicture(ada.page, "page-border.png");
  const inReach = (ship, seen) => seen.in_reach && ship.speed < 50;
  const [crossed, docked] = await dockAt(ada, 283, 283, inReach, (seen) => seen.docked !== null);
  assert.ok(crossed.sectors_visited >= 2, JSON.stringify(crossed));
  assert.equal(crossed.own.id, began.own.id, "the same ship on the other side");
  assert.ok(docked.docked.length > 0, "the station has a name");
  await takePicture(ada.page, "page-docked.png");
  await ada.keyboard.press("v");
  await until(ada.page, "ada is in space again", (seen) => seen.docked === null && flying(seen));

  const bob = await visit(browser, world.url);
  await register(bob.page, "bob");
  await until(bob.page, "bob flies", flying);
  await bob.keyboard.press("Enter");
  await bob.keyboard.press("Tab");
  await bob.keyboard.type("anybody out there?", { delay: 40 });
  await bob.keyboard.press("Enter");
  await until(ada.page, "ada hears bob", (seen) => seen.chat.some(([who, what]) => who === "bob" && what === "anybody out there?"));

  const end = await look(ada.page);
  assert.equal(end.inputs.lost + end.inputs.doubled, 0, JSON.stringify(end.inputs));
  assert.ok(end.inputs.applied > 30, JSON.stringify(end.inputs));
  assert.equal(end.violations, 0);
  assert.deepEqual([...ada.complaints, ...bob.complaints], []);
  await bob.context.close();

  // A reload leads back to the same ship, without a password.
  await ada.page.reload();
  const back = await until(ada.page, "ada is back", flying);
  assert.equal(back.own.id, began.own.id);
  await ada.context.close();
});

test("the page fits a telephone, and thumbs fly", async () => {
  const eve = await visit(browser, world.url, { width: 360, height: 640 }, { hasTouch: true, isMobile: true });
  const door = await eve.page.locator("#door").boundingBox();
  assert.ok(door.x >= 0 && door.x + door.width <= 360 && door.y >= 0 && door.y + door.height <= 640, JSON.stringify(door));
  await register(eve.page, "eve");
  await until(eve.page, "eve flies", flying);
  await seesOwnShip(browser, () => takePicture(eve.page, "page-telephone.png"), 0.001);

  const glass = await eve.context.newCDPSession(eve.page);
  const touch = (type, ...touchPoints) => glass.send("Input.dispatchTouchEvent", { type, touchPoints });
  // The left thumb touches and drags upwards, then the right one touches the fire button.
  const [thumb, pulled, fire] = [{ x: 90, y: 420, id: 1 }, { x: 90, y: 350, id: 1 }, { x: 306, y: 444, id: 2 }];
  await touch("touchStart", thumb);
  await touch("touchMove", pulled);
  await until(eve.page, "eve flies upwards", ({ own }) => own.speed > 30 && Math.sin(own.angle) > 0.9);
  await touch("touchStart", pulled, fire);
  await until(eve.page, "eve's shots are seen", (seen) => seen.own_shots > 0);
  await takePicture(eve.page, "page-thumbs.png");
  await touch("touchEnd");
  await eve.context.close();
});

test("what goes wrong is said in words", async () => {
  const { page, context } = await visit(browser, world.url);
  const message = () => page.locator("#message").innerText();
  await page.fill("#user", "ada");
  await page.fill("#password", "wrong horse battery");
  await page.click("#login");
  await page.locator("#message:not([hidden])").waitFor();
  assert.match(await message(), /password/i);
  await page.click("#register");
  await page.waitForFunction(() => /taken|another name/i.test(document.getElementById("message").textContent));
  await context.close();

  const old = await browser.newContext();
  await old.addInitScript(() => delete window.WebTransport);
  const oldPage = await old.newPage();
  await oldPage.goto(world.url);
  assert.match(await oldPage.locator("#message").innerText(), /WebTransport/);
  assert.ok(await oldPage.locator("#enter").isHidden(), "there is no way in");
  await old.close();
});

test("a server that goes away is said, and looked for", async () => {
  const gone = await startWorld();
  const { page, context } = await visit(browser, gone.url);
  await register(page, "zoe");
  await until(page, "zoe flies", flying);
  assert.equal(await gone.stop(), 0);
  await until(page, "zoe looks for a way back", (seen) => seen.state.startsWith("Returning"));
  await takePicture(page, "page-returning.png");
  await context.close();
});
