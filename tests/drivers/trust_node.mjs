// node-postgres with and without channel binding, at every mode.
//
// usage: trust_node.mjs MODE=ADDRESS …

import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.env.WEIR_TEST_NODE_MODULES, "x.js"));
const pg = require("pg");
const ca = fs.readFileSync(process.env.PGSSLROOTCERT, "utf8");

const report = (name, ok, got) => console.log(JSON.stringify({ case: name, ok: Boolean(ok), got }));

async function once(mode, address, tls, bind) {
  const client = new pg.Client({
    host: address,
    port: Number(process.env.PGPORT),
    user: "by_scram",
    database: process.env.PGDATABASE,
    password: mode === "inject" ? "a placeholder" : process.env.PASSWORD,
    ssl: tls ? { ca, servername: "localhost" } : false,
    enableChannelBinding: bind,
    connectionTimeoutMillis: 60000,
  });
  client.on("error", () => {});
  await client.connect();
  try {
    const answer = await client.query("select $1::int + 1 as n", [41]);
    return answer.rows[0].n;
  } finally {
    await client.end();
  }
}

for (const argument of process.argv.slice(2)) {
  const [mode, address] = argument.split("=");
  for (const tls of [false, true]) {
    for (const bind of [false, true]) {
      if (tls && mode === "plaintext") continue;
      const name = `node-postgres ${mode} tls=${tls} bind=${bind}`;
      // Where weir does not take part, a log-in is refused with the remedy that is bound to weir's certificate, or that
      // claims to be able to bind where there is no TLS.
      const helped = mode === "verifier" || mode === "inject";
      const remedy = bind && !helped && (tls ? mode === "plaintext-tls" : true);
      try {
        const got = await once(mode, address, tls, bind);
        report(name, got === 42 && !remedy, got);
      } catch (error) {
        const words = `${error.message} ${error.hint ?? ""}`;
        report(name, remedy && words.includes('mode to "verifier"'), words);
      }
    }
  }
}
report("finished", true, null);
