// What people do on pages.

/** Types a reason and clicks; when the click was (ms since 1970), and what the page says then. */
export async function approve({ page }, settings, id, verdict, reason) {
  await page.goto(`${settings.origin}/approvals/${id}`);
  await page.getByLabel("Why, in one line").fill(reason);
  const button = page.getByRole("button", { name: verdict });
  await button.hover();
  const at = Date.now();
  await button.click();
  await page.waitForLoadState();
  return { at, says: await page.locator("main").innerText() };
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

export async function endSession({ page }, settings, of) {
  await page.goto(`${settings.origin}/sessions`);
  await page.getByRole("button", { name: new RegExp(`^End session \\d+ of ${of}`) }).first().click();
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
