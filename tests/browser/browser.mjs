// A person at a real browser: takes orders, one a line of JSON, and answers each with a line {"ok": …} or {"error": …}.
//
// Usage: node browser.mjs SETTINGS, a JSON text {"origin", "modules", "chromium", "pictures"}.

import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";

import { approve, endSession, follow, seesDisconnection, seesLogInWanted, seesSession } from "./acts.mjs";
import { look } from "./look.mjs";
import { newPerson } from "./person.mjs";

const settings = JSON.parse(process.argv[2]);
const require = createRequire(path.join(settings.modules, "x.js"));
const browser = await require("playwright-core").chromium.launch({
  executablePath: settings.chromium,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});
const people = new Map();

async function person(login) {
  if (!people.has(login)) people.set(login, await newPerson(browser, settings, login));
  return people.get(login);
}

const orders = {
  look: async ({ login, pages }) => look(await person(login), settings, pages),
  look_unknown: async ({ pages }) => look(await newPerson(browser, settings, ""), settings, pages),
  decide: async ({ login, id, verdict, reason }) => approve(await person(login), settings, id, verdict, reason),
  follow: async ({ login }) => follow(await person(login), settings),
  sees_session: async ({ login, of }) => seesSession(await person(login), of),
  end_session: async ({ login, of }) => endSession(await person(login), settings, of),
  sees_disconnection: async ({ login }) => seesDisconnection(await person(login)),
  sees_log_in_wanted: async ({ login }) => seesLogInWanted(await person(login)),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  let answer;
  try {
    const order = JSON.parse(line);
    answer = { ok: (await orders[order.op](order)) ?? null };
  } catch (error) {
    answer = { error: error.stack };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
