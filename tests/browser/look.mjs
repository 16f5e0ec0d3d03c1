// Looking at pages: narrow and wide, light and dark. What is wrong with one comes back as a list of words.

import fs from "node:fs";
import path from "node:path";

const SHAPES = [
  { width: 360, height: 740, scheme: "light" },
  { width: 360, height: 740, scheme: "dark" },
  { width: 1440, height: 900, scheme: "light" },
  { width: 1440, height: 900, scheme: "dark" },
];

export async function look({ page, faults }, settings, pages) {
  const axe = fs.readFileSync(path.join(settings.modules, "axe-core/axe.min.js"), "utf8");
  const wrong = [];
  const html = {};
  for (const { name, path: where, status = 200 } of pages) {
    faults.length = 0;
    const answer = await page.goto(settings.origin + where);
    if (answer.status() !== status) wrong.push(`${name}: answers ${answer.status()}`);
    // A page that is an error on purpose says so on the console too.
    if (status >= 400) faults.splice(0, faults.length, ...faults.filter((it) => !it.includes(`status of ${status}`)));
    for (const { width, height, scheme } of SHAPES) {
      const shape = `${name}-${width}-${scheme}`;
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      const room = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      if (room[0] > room[1]) wrong.push(`${shape}: ${room[0]} px wide in ${room[1]}`);
      // Into the debugger's world, so that the page's own policy stays as it is.
      const found = await page.evaluate(`${axe}; axe.run(document, { resultTypes: ["violations"] })`);
      for (const { id, impact, nodes } of found.violations) {
        if (["serious", "critical"].includes(impact))
          wrong.push(`${shape}: ${id}: ${nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`);
      }
      await page.screenshot({ path: path.join(settings.pictures, `${shape}.png`), fullPage: true });
    }
    wrong.push(...faults.map((fault) => `${name}: ${fault}`));
    html[name] = await page.content();
  }
  faults.length = 0;
  return { wrong, html };
}
