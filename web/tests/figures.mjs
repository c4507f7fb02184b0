// Not a test: measures the page in Chromium with software rendering, with 100 ships in view. `web/test --figures` runs
// it.

import { look, openBrowser, register, startWorld, until, visit } from "./world.mjs";

const SHIPS = 100;
const MEASURED_MS = 20_000;

const frames = (page) =>
  page.evaluate(
    (milliseconds) =>
      new Promise((resolve) => {
        const began = performance.now();
        let count = 0;
        const next = () => {
          count += 1;
          const passed = performance.now() - began;
          if (passed < milliseconds) requestAnimationFrame(next);
          else resolve((count * 1000) / passed);
        };
        requestAnimationFrame(next);
      }),
    MEASURED_MS,
  );

const browser = await openBrowser();
const figures = {};

const quiet = await startWorld("--seed", "7");
const first = await visit(browser, quiet.url, { width: 1280, height: 720 });
await first.page.waitForFunction(() => window.sidereal.timings.program_ms > 0);
await register(first.page, "ada");
await until(first.page, "ada flies", (seen) => seen.state === "InSpace");
const timings = await first.page.evaluate(() => window.sidereal.timings);
figures.page_to_program_s = timings.program_ms / 1000;
figures.asked_to_flying_s = (timings.flying_ms - timings.asked_ms) / 1000;
figures.frames_per_s_alone_1280x720 = await frames(first.page);
await first.context.close();
await quiet.stop();

const crowd = await startWorld("--seed", "7", "--bots", String(SHIPS), "--gather");
for (const [width, height] of [[640, 360], [1280, 720]]) {
  const { page, context } = await visit(browser, crowd.url, { width, height });
  await register(page, `eve${width}`);
  await until(page, "eve flies", (seen) => seen.state === "InSpace" && seen.players_near > SHIPS / 2);
  await page.mouse.move(width / 2, height / 2);
  await page.mouse.wheel(0, 300);
  figures[`ships_in_view_${width}x${height}`] = (await look(page)).players_near;
  figures[`frames_per_s_${width}x${height}`] = await frames(page);
  await context.close();
}
await crowd.stop();

await browser.close();
console.log(JSON.stringify(figures, null, 2));
