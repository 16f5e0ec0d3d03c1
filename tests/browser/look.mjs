// Looking at pages: narrow and wide, light and dark. What is wrong with one comes back as a list of words.

import fs from "node:fs";
import path from "node:path";

// Neither colours nor what is read aloud depend on both: axe judges each width and each scheme once.
const SHAPES = [
  { width: 360, height: 740, scheme: "light", judged: true },
  { width: 360, height: 740, scheme: "dark", judged: false },
  { width: 1440, height: 900, scheme: "dark", judged: true },
  { width: 1440, height: 900, scheme: "light", judged: false },
];

/** Opens each of `pages` and inspects it. */
export async function look(person, settings, pages) {
  const { page, faults } = person;
  const wrong = [];
  for (const { name, path: where, status = 200 } of pages) {
    faults.length = 0;
    const answer = await page.goto(settings.origin + where);
    if (answer.status() !== status) wrong.push(`${name}: answers ${answer.status()}`);
    wrong.push(...(await inspect(person, settings, name, status)));
  }
  return { wrong };
}

/** What is wrong with the page that is open, in every shape. Its text is kept, for a search of what must not be in it. */
export async function inspect(person, settings, name, status = 200) {
  const { page, faults } = person;
  const wrong = [];
  for (const { width, height, scheme, judged } of SHAPES) {
    const shape = `${name}-${width}-${scheme}`;
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    const room = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (room[0] > room[1]) wrong.push(`${shape}: ${room[0]} px wide in ${room[1]}`);
    const cut = await page.evaluate(textThatIsCut);
    if (cut.length) wrong.push(`${shape}: text is cut: ${cut.join(" | ")}`);
    for (const { id, impact, nodes } of judged ? await violations(page, settings) : []) {
      if (["serious", "critical"].includes(impact))
        wrong.push(`${shape}: ${id}: ${nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`);
    }
    await page.screenshot({ path: path.join(settings.pictures, `${shape}.png`), fullPage: true });
  }
  // A page that is an error on purpose says so on the console too.
  const own = status >= 400 ? `status of ${status}` : undefined;
  wrong.push(...faults.filter((fault) => !own || !fault.includes(own)).map((fault) => `${name}: ${fault}`));
  faults.length = 0;
  await remember(person, name);
  return wrong;
}

/** Keeps what the page that is open holds, scripts' doing included. */
export async function remember({ page, pages }, name) {
  pages.push({ name, html: await page.content() });
}

async function violations(page, settings) {
  // By the debugger, so that the page's own policy stays as it is.
  if (!(await page.evaluate(() => "axe" in window)))
    await page.evaluate(fs.readFileSync(path.join(settings.modules, "axe-core/axe.min.js"), "utf8"));
  const found = await page.evaluate(`axe.run(document, { resultTypes: ["violations"] })`);
  return found.violations;
}

/** Text that leaves the box it stands in, other than where one can scroll to it. */
function textThatIsCut() {
  const isScrolled = (element) => element.closest(".scroll, pre") !== null;
  const isHidden = (element) => element.closest("thead, [hidden], .skip") !== null;
  return [...document.querySelectorAll("main *, header *")]
    .filter((it) => it.clientWidth > 0 && it.scrollWidth > it.clientWidth + 1 && !isScrolled(it) && !isHidden(it))
    .filter((it) => !["INPUT", "SELECT"].includes(it.tagName) && !it.closest("svg"))
    .map((it) => `${it.tagName.toLowerCase()} ${it.textContent.trim().slice(0, 60)}`);
}
