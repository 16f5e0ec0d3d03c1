// Somebody with a browser window of their own, and everything that went wrong in it.

/** Logs in through the provider's own pages, unless `login` is empty. */
export async function newPerson(browser, settings, login) {
  // The certificate is the host's own; the suite `admin` checks it.
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const faults = [];
  const said = [];
  page.on("console", (message) => {
    said.push(message.text());
    if (["error", "warning"].includes(message.type())) faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`script: ${error.stack}`));
  page.on("requestfailed", (request) => {
    // A stream of events ends with its page, and a file to take away is no page.
    const reason = request.failure()?.errorText ?? "";
    if (reason !== "net::ERR_ABORTED") faults.push(`request: ${request.url()}: ${reason}`);
  });
  page.on("response", (response) => {
    const isElsewhere = !response.url().startsWith(settings.origin);
    if (response.status() >= 400 && !isElsewhere && !response.request().isNavigationRequest())
      faults.push(`answer: ${response.url()}: ${response.status()}`);
  });
  if (login) {
    await page.goto(`${settings.origin}/login`);
    await page.getByRole("link", { name: /^Log in at/ }).click();
    await page.locator("input[name=login]").fill(login);
    await page.locator("input[name=password]").fill("any");
    await page.locator("button[type=submit]").click();
    const consent = page.locator("button[type=submit]");
    await consent.or(page.getByText("Logged in")).first().waitFor();
    if (!page.url().startsWith(settings.origin)) await consent.click();
    await page.waitForURL(`${settings.origin}/`);
    // What the provider's pages complain of is not weir's.
    faults.length = 0;
    said.length = 0;
  }
  return { page, faults, said, pages: [] };
}

/** What somebody carries, saw and was told by scripts: cookies and the token of their forms, pages, the console. */
export async function belongings({ page, said, pages }, settings) {
  const cookies = await page.context().cookies(settings.origin);
  const csrf = await page.evaluate(async () => (await (await fetch("/api/me")).json()).csrf);
  return { cookies: cookies.map(({ value }) => value), csrf, console: said.join("\n"), pages };
}
