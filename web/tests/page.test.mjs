// The page, played in Debian's chromium against a world of real processes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Hands, dockAt, flyTo, look, openBrowser, register, startWorld, takePicture, until, visit } from "./world.mjs";

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
  const fresh = await takePicture(browser, ada.page, "page-space.png");
  assert.ok(fresh.colours > 60, `the picture is blank: ${JSON.stringify(fresh)}`);
  assert.ok(fresh.own > 0.001, `the own ship is not in the middle: ${JSON.stringify(fresh)}`);

  const hands = new Hands(ada.page);
  await hands.hold(" ");
  await until(ada.page, "a shot is seen", (seen) => seen.own_shots > 0);
  await hands.hold();

  // The shards' borders meet in the middle of the world, where ships start.
  await flyTo(ada.page, -120, -120, (seen) => seen.own.x < -40 && seen.own.y < -40);
  await takePicture(browser, ada.page, "page-border.png");
  const [crossed, docked] = await dockAt(ada.page, 283, 283);
  assert.ok(crossed.sectors_visited >= 2, JSON.stringify(crossed));
  assert.equal(crossed.own.id, began.own.id, "the same ship on the other side");
  assert.ok(docked.docked.length > 0, "the station has a name");
  await takePicture(browser, ada.page, "page-docked.png");
  await ada.page.keyboard.press("v");
  await until(ada.page, "ada is in space again", (seen) => seen.docked === null && flying(seen));

  const bob = await visit(browser, world.url);
  await register(bob.page, "bob");
  await until(bob.page, "bob flies", flying);
  await bob.page.keyboard.press("Enter");
  await bob.page.keyboard.press("Tab");
  await bob.page.keyboard.type("anybody out there?", { delay: 40 });
  await bob.page.keyboard.press("Enter");
  await until(ada.page, "ada hears bob", (seen) => seen.chat.some(([who, what]) => who === "bob" && what === "anybody out there?"));

  const end = await look(ada.page);
  assert.equal(end.inputs.lost + end.inputs.doubled, 0, JSON.stringify(end.inputs));
  assert.ok(end.inputs.applied > 30, JSON.stringify(end.inputs));
  assert.equal(end.violations, 0);
  assert.deepEqual([...ada.complaints, ...bob.complaints], []);
  await bob.context.close();

  // Whoever reloads is in the same ship again, without a password.
  await ada.page.reload();
  const back = await until(ada.page, "ada is back", flying);
  assert.equal(back.own.id, began.own.id);
  await ada.context.close();
});

test("the page fits a telephone", async () => {
  const eve = await visit(browser, world.url, { width: 360, height: 640 });
  const door = await eve.page.locator("#door").boundingBox();
  assert.ok(door.x >= 0 && door.x + door.width <= 360 && door.y >= 0 && door.y + door.height <= 640, JSON.stringify(door));
  await register(eve.page, "eve");
  await until(eve.page, "eve flies", flying);
  const picture = await takePicture(browser, eve.page, "page-telephone.png");
  assert.ok(picture.colours > 60 && picture.own > 0.001, JSON.stringify(picture));
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
  await takePicture(browser, page, "page-returning.png");
  await context.close();
});
