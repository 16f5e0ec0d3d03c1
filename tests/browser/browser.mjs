// A person at a real browser: takes orders, one a line of JSON, and answers each with a line {"ok": …} or {"error": …}.
//
// Usage: node browser.mjs SETTINGS, a JSON text {"origin", "modules", "chromium", "pictures"}.

import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";

import * as acts from "./acts.mjs";
import { look } from "./look.mjs";
import { belongings, newPerson } from "./person.mjs";

const settings = JSON.parse(process.argv[2]);
const require = createRequire(path.join(settings.modules, "x.js"));
const browser = await require("playwright-core").chromium.launch({
  executablePath: settings.chromium,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});
const people = new Map();

/** Somebody by their login; "" is somebody whom nobody knows. */
async function person(login) {
  if (!people.has(login)) people.set(login, await newPerson(browser, settings, login));
  return people.get(login);
}

const orders = {
  look: async ({ pages }, who) => look(who, settings, pages),
  belongings: async (_, who) => belongings(who, settings),
  decide: async ({ id, verdict, reason }, who) => acts.approve(who, settings, id, verdict, reason),
  open_approval: async ({ id }, who) => acts.openApproval(who, settings, id),
  decide_too_late: async (_, who) => acts.decideTooLate(who, settings),
  decide_about_own: async ({ id }, who) => acts.decideAboutOwn(who, settings, id),
  show_values: async ({ id }, who) => acts.showValues(who, settings, id),
  approve_by_keyboard: async ({ id, reason, lasting }, who) =>
    acts.approveByKeyboard(who, settings, id, reason, lasting),
  take_back: async ({ id, reason }, who) => acts.takeBack(who, settings, id, reason),
  drill_down: async ({ choices }, who) => acts.drillDown(who, settings, choices),
  verify_chain: async (_, who) => acts.verifyChain(who, settings),
  switch_colours: async (_, who) => acts.switchColours(who, settings),
  follow: async (_, who) => acts.follow(who, settings),
  sees_session: async ({ of }, who) => acts.seesSession(who, of),
  sees_effect: async ({ of, table, effect }, who) => acts.seesEffect(who, of, table, effect),
  end_session: async ({ of }, who) => acts.endSession(who, settings, of),
  sees_disconnection: async (_, who) => acts.seesDisconnection(who),
  sees_log_in_wanted: async (_, who) => acts.seesLogInWanted(who),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  let answer;
  try {
    const order = JSON.parse(line);
    answer = { ok: (await orders[order.op](order, await person(order.login))) ?? null };
  } catch (error) {
    answer = { error: error.stack };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
