// A prepared statement of node-postgres, executed with the values of each line that comes in; says what it hears and gets.

import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";

// The drivers lie in a folder of their own, away from this file.
const load = createRequire(path.join(process.env.WEIR_TEST_NODE_MODULES, "here.js"));
const { Client } = load("pg");

const say = (object) => console.log(JSON.stringify(object));
const client = new Client();
client.on("notice", (notice) => say({ notice: notice.message }));
await client.connect();
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const result = await client.query({ name: "noted", text: "update accounts set note = $1 where id = $2", values: JSON.parse(line) });
    say({ rows: result.rowCount });
  } catch (error) {
    say({ code: error.code, message: error.message });
  }
}
await client.end();
