// What people do on pages.

import { inspect, remember } from "./look.mjs";

/** Types a reason and clicks; when the click was (ms since 1970), and what the page says then. */
export async function approve(person, settings, id, verdict, reason) {
  const { page } = person;
  await openApproval(person, settings, id);
  await page.getByLabel("Why, in one line").fill(reason);
  const button = page.getByRole("button", { name: verdict });
  await button.hover();
  const at = Date.now();
  await button.click();
  await page.waitForLoadState();
  await remember(person, `approval ${id} decided`);
  return { at, says: await page.locator("main").innerText() };
}

export async function openApproval({ page }, settings, id) {
  await page.goto(`${settings.origin}/approvals/${id}`);
}

/** Decides on the page that is open; what the answer says. */
export async function decideTooLate(person, settings) {
  const { page } = person;
  await page.getByLabel("Why, in one line").fill("looked at it");
  await page.getByRole("button", { name: "Approve" }).click();
  await page.getByRole("heading", { name: "Not Found" }).waitFor();
  return { wrong: await inspect(person, settings, "too-late", 404), says: await page.locator("main").innerText() };
}

/** Opens the page of one's own statement; sends what its buttons would, if there were any. */
export async function decideAboutOwn(person, settings, id) {
  const { page } = person;
  await openApproval(person, settings, id);
  const says = await page.locator("main").innerText();
  const buttons = await page.locator("main button").allInnerTexts();
  const wrong = await inspect(person, settings, "own");
  const answers = [];
  for (const [act, fields] of [
    ["decide", { verdict: "approved", reason: "mine" }],
    ["decide", { verdict: "denied", reason: "mine" }],
    ["values", {}],
  ]) {
    await openApproval(person, settings, id);
    const [answer] = await Promise.all([
      page.waitForNavigation(),
      page.evaluate(([action, added]) => {
        const form = document.querySelector("form[action='/logout']").cloneNode(true);
        form.action = action;
        for (const [name, value] of Object.entries(added)) {
          const field = document.createElement("input");
          Object.assign(field, { type: "hidden", name, value });
          form.append(field);
        }
        document.body.append(form);
        form.submit();
      }, [`/approvals/${id}/${act}`, fields]),
    ]);
    answers.push({ status: answer.status(), says: await page.locator("main").innerText() });
    await remember(person, `own statement: ${act}`);
  }
  wrong.push(...(await inspect(person, settings, "own-refused", 403)));
  return { says, buttons, wrong, answers };
}

/** Asks for the exact text and values. */
export async function showValues(person, settings, id) {
  const { page } = person;
  await openApproval(person, settings, id);
  await page.getByRole("button", { name: "Show them to me" }).click();
  await page.getByRole("heading", { name: "Values, in order" }).waitFor();
  const says = await page.locator("main").innerText();
  const wrong = await inspect(person, settings, "values");
  // The one page that may hold them.
  person.pages.pop();
  return { says, wrong };
}

/** From the start to a lasting approval by the keyboard alone. */
export async function approveByKeyboard(person, settings, id, reason, lasting) {
  const { page } = person;
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.goto(`${settings.origin}/`);
  await tabTo(page, "Approvals");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/approvals");
  await tabTo(page, "Skip to the content");
  await page.keyboard.press("Enter");
  await tabTo(page, `Approval ${id}`);
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/approvals/${id}`);
  await tabTo(page, "Why, in one line");
  await page.keyboard.type(reason);
  await tabTo(page, "The same statement may run again for");
  await page.keyboard.type(lasting);
  await tabTo(page, "Approve");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/approvals");
  return { says: await page.locator("main").innerText() };
}

/** Presses the key until what has the focus is called so; where it is must show at each step. */
async function tabTo(page, name) {
  const passed = [];
  for (let step = 0; step < 40; step += 1) {
    await page.keyboard.press("Tab");
    const [called, shows] = await page.evaluate(() => {
      const it = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(it);
      const called = it.labels?.[0]?.textContent ?? it.getAttribute("aria-label") ?? it.textContent;
      return [called.trim(), outlineStyle !== "none" && parseFloat(outlineWidth) > 0];
    });
    if (!shows) throw new Error(`nothing shows that ${called} has the focus`);
    if (called === name) return;
    passed.push(called);
  }
  throw new Error(`the key does not lead to ${name}, but to ${passed.join(", ")}`);
}

/** From principal to statement by clicks; what is wrong with each level, and what the last one says. */
export async function drillDown(person, settings, choices) {
  const { page } = person;
  await page.goto(`${settings.origin}/usage`);
  const wrong = await inspect(person, settings, "usage-principal");
  for (const [level, choice] of choices) {
    await page.getByRole("region").getByRole("link", { name: choice, exact: true }).click();
    await page.getByRole("heading", { name: `By ${level}` }).waitFor();
    wrong.push(...(await inspect(person, settings, `usage-${level}`)));
  }
  const says = await page.locator("main").innerText();
  const trail = await page.getByRole("navigation", { name: "Where you are" }).getByRole("link").allInnerTexts();
  return { wrong, says, trail };
}

/** Has the chain verified, and waits for what comes of it. */
export async function verifyChain(person, settings) {
  const { page } = person;
  await page.goto(`${settings.origin}/chain`);
  await page.getByRole("button", { name: "Verify now" }).click();
  const again = page.getByRole("status").locator("..").getByRole("link", { name: "Look again" });
  const done = page.getByRole("status").getByText(/^Intact|^BROKEN|^Could not/);
  for (let step = 0; step < 100; step += 1) {
    await again.or(done).first().waitFor();
    if (await done.count()) break;
    await again.click();
    await page.waitForLoadState();
  }
  return { says: await page.getByRole("status").innerText(), wrong: await inspect(person, settings, "chain-verified") };
}

/** Takes a lasting approval back. */
export async function takeBack(person, settings, id, reason) {
  const { page } = person;
  await page.goto(`${settings.origin}/approvals`);
  await page.getByLabel(`Why approval ${id} is taken back`).fill(reason);
  await page.getByRole("button", { name: `Take back approval ${id}` }).click();
  await page.waitForLoadState();
  await remember(person, "taken back");
  return { says: await page.locator("main").innerText() };
}

/** Chooses the other colours; the choice holds on the next page. */
export async function switchColours({ page }, settings) {
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto(`${settings.origin}/sessions`);
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  await page.getByRole("button", { name: "Switch to dark colours" }).click();
  const dark = await paper();
  await page.goto(`${settings.origin}/usage`);
  const next = await paper();
  await page.getByRole("button", { name: "Switch to light colours" }).click();
  const again = await paper();
  if (light === dark || dark !== next || light !== again)
    throw new Error(`colours are ${light}, ${dark} when dark, ${next} on the next page, ${again} when light`);
}

/** Opens the live map and leaves it open; a reload would lose the mark. */
export async function follow({ page, faults }, settings) {
  await page.goto(`${settings.origin}/`);
  await page.getByText("Live.", { exact: true }).waitFor();
  await page.evaluate(() => (window.isTheSamePage = true));
  faults.length = 0;
}

export async function seesSession({ page }, of) {
  await page.locator("#map .node text", { hasText: of }).first().waitFor();
  await page.locator("#map-rows td[data-name=who]", { hasText: of }).first().waitFor();
  await isTheSame(page);
}

/** Waits until the live map, which is open, says what became of somebody's statements on a table. */
export async function seesEffect({ page }, of, table, effect) {
  const cell = (name, text) => page.locator(`td[data-name="${name}"]`, { hasText: new RegExp(`^${text}$`) });
  const row = page.locator("#map-rows tr").filter({ has: cell("who", of) }).filter({ has: cell("table", table) });
  await row.filter({ has: cell("effect", effect) }).first().waitFor();
  await isTheSame(page);
}

export async function endSession(person, settings, of) {
  const { page } = person;
  await page.goto(`${settings.origin}/sessions`);
  const button = page.getByRole("button", { name: new RegExp(`^End session \\d+ of ${of}`) }).first();
  await button.locator("..").getByRole("textbox", { name: /^Why session \d+ is ended$/ }).fill("seen on the map");
  await button.click();
  await page.waitForLoadState();
  const says = await page.locator("main").innerText();
  if (!says.startsWith("Sessions")) throw new Error(`the button does not work: ${says}`);
}

/** Says that it is not connected; no script failed, and the page is still there. Returns what did fail. */
export async function seesDisconnection({ page, faults }) {
  await page.getByText("Not connected: what is shown is old.").waitFor();
  await isTheSame(page);
  return faults.filter((fault) => fault.startsWith("script:"));
}

/** Asks for a new log-in, on the page that is still there. */
export async function seesLogInWanted({ page }) {
  await page.getByRole("link", { name: "Log in again" }).waitFor();
  await isTheSame(page);
}

async function isTheSame(page) {
  if (!(await page.evaluate(() => window.isTheSamePage))) throw new Error("the page was loaded again");
}
