// Not a test: pictures of fights at a border, in the page and in the native window, one every few seconds, to choose
// from. `web/test --pictures` takes them.

import { Hands, Screen, openBrowser, register, startWorld, takePicture, until, visit } from "./world.mjs";

const PICTURES = 12;
const EVERY_MS = 4_000;

// The bots fight around the corner where the shards' borders meet, which is where ships start.
const world = await startWorld("--seed", "7", "--bots", "30");
const browser = await openBrowser();
const screen = new Screen(1280, 720);
await screen.fly(world, "nat");
const { page } = await visit(browser, world.url, { width: 1280, height: 720 });
await register(page, "ada");
await until(page, "ada flies", (seen) => seen.state === "InSpace" && seen.players_near > 5);
await screen.aim();
for (const [keyboard, farther, fire] of [[page.keyboard, "-", " "], [screen.keyboard, "minus", "space"]]) {
  await keyboard.press("g");
  await keyboard.press(farther);
  await new Hands(keyboard).hold(fire, "a");
}
for (let number = 1; number <= PICTURES; number += 1) {
  await page.waitForTimeout(EVERY_MS);
  await takePicture(page, `fight-page-${number}.png`);
  await screen.take(`fight-window-${number}.png`);
}
await screen.leave();
await browser.close();
await world.stop();
