// What applications do with node-postgres, each result printed: the runner compares the governed run with a direct one.

import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import path from "node:path";

// The drivers lie in a folder of their own, away from this file.
const load = createRequire(path.join(process.env.WEIR_TEST_NODE_MODULES, "here.js"));
const { Client, Pool } = load("pg");
const Cursor = load("pg-cursor");

async function withClient(work, options = {}) {
  const client = new Client(options);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const codeOf = async (promise) => {
  try {
    await promise;
    return "no error";
  } catch (error) {
    return [error.code, error.message];
  }
};

const cases = {
  simple: () =>
    withClient(async (c) => [
      (await c.query("select 1 as a, 'zwei ü' as b, null as c, true as d, 1.5::numeric as e")).rows,
      (await c.query("select 1; select 2 as two")).map((r) => r.rows),
      (await c.query("select i, md5(i::text) from generate_series(1, 1000) i")).rowCount,
      (await c.query("")).command,
    ]),

  parameterised: () =>
    withClient(async (c) => [
      (await c.query("select $1::int + $2::int as sum, $3::text as t, $4::jsonb as j", [1, 2, "ü€", { a: [1, null] }])).rows,
      (await c.query({ text: "select $1::int[] as a, $2::bytea as b", values: [[1, 2, 3], Buffer.from([0, 1, 255])], rowMode: "array" })).rows,
    ]),

  prepared: () =>
    withClient(async (c) => {
      const seen = [];
      for (let n = 0; n < 100; n++) {
        seen.push((await c.query({ name: "double", text: "select $1::int * 2 as n", values: [n] })).rows[0].n);
      }
      seen.push((await c.query("select count(*)::int from pg_prepared_statements where name = 'double'")).rows);
      return seen;
    }),

  transaction: () =>
    withClient(async (c) => {
      await c.query("create temp table t (a int primary key)");
      await c.query("begin");
      await c.query("insert into t values ($1)", [1]);
      await c.query("savepoint s");
      const said = await codeOf(c.query("insert into t values ($1)", [1]));
      const failed = await codeOf(c.query("select 1"));
      await c.query("rollback to s");
      await c.query("insert into t values (2)");
      await c.query("commit");
      return [said, failed, (await c.query("select a from t order by a")).rows];
    }),

  errors: () =>
    withClient(async (c) => {
      const seen = [];
      for (const text of ["select 1/0", "selec 1", "select * from no_such_table"]) {
        seen.push(await codeOf(c.query(text)), await codeOf(c.query(text, [])), (await c.query("select 1 as one")).rows);
      }
      seen.push(await codeOf(c.query({ name: "broken", text: "selec $1", values: [1] })));
      seen.push((await c.query({ name: "broken", text: "select $1::int as n", values: [1] })).rows);
      return seen;
    }),

  queued: () =>
    withClient(async (c) => {
      const all = await Promise.allSettled(Array.from({ length: 200 }, (_, n) => c.query(n % 7 === 3 ? "select 1/0" : "select $1::int as n", n % 7 === 3 ? [] : [n])));
      return all.map((one) => one.value?.rows[0].n ?? one.reason.code);
    }),

  cursor: () =>
    withClient(async (c) => {
      const cursor = c.query(new Cursor("select i from generate_series(1, 100) i where i > $1", [10]));
      const seen = [];
      for (;;) {
        const rows = await cursor.read(17);
        if (rows.length === 0) break;
        seen.push(rows.map((row) => row.i));
      }
      await cursor.close();
      const abandoned = c.query(new Cursor("select i from generate_series(1, 100000) i"));
      seen.push((await abandoned.read(3)).length);
      await abandoned.close();
      seen.push((await c.query("select 'usable' as u")).rows);
      return seen;
    }),

  listen: () =>
    withClient((listener) =>
      withClient(async (speaker) => {
        const channel = `channel_${process.pid}_${randomBytes(4).toString("hex")}`;
        const heard = [];
        const all = new Promise((done) => listener.on("notification", (m) => heard.push(m.payload) === 3 && done()));
        await listener.query(`listen ${channel}`);
        for (let n = 0; n < 3; n++) await speaker.query("select pg_notify($1, $2)", [channel, `payload ${n}`]);
        await all;
        return heard;
      }),
    ),

  notices: () =>
    withClient(async (c) => {
      const seen = [];
      c.on("notice", (n) => seen.push([n.severity, n.code, n.message]));
      await c.query("do $$ begin raise notice 'one'; raise warning 'two'; end $$");
      return seen;
    }),

  cancel: () =>
    withClient((victim) =>
      withClient(async (other) => {
        const pid = (await victim.query("select pg_backend_pid() as pid")).rows[0].pid;
        const running = codeOf(victim.query("select pg_sleep(20)"));
        await new Promise((done) => setTimeout(done, 300));
        await other.query("select pg_cancel_backend($1)", [pid]);
        return [await running, (await victim.query("select 1 as one")).rows];
      }),
    ),

  cancelRequest: () =>
    withClient(async (victim) => {
      const query = new (load("pg").Query)("select pg_sleep(20)");
      const running = new Promise((done) => query.once("error", (error) => done(error.code)));
      victim.query(query);
      await new Promise((done) => setTimeout(done, 300));
      new Client().cancel(victim, query);
      return [await running, (await victim.query("select 1 as one")).rows];
    }),

  statementTimeout: () =>
    withClient(async (c) => [await codeOf(c.query("select pg_sleep(20)")), (await c.query("select 1 as one")).rows], { statement_timeout: 300 }),

  pool: async () => {
    const pool = new Pool({ max: 8 });
    const all = await Promise.all(Array.from({ length: 200 }, (_, n) => pool.query("select $1::int * 2 as n", [n])));
    await pool.end();
    return all.map((r) => r.rows[0].n);
  },

  large: () =>
    withClient(async (c) => [
      (await c.query("select repeat('ü', 3000000) as x")).rows[0].x.length,
      (await c.query("select length($1::text) as n", ["y".repeat(5_000_000)])).rows[0].n,
    ]),
};

for (const [name, work] of Object.entries(cases)) {
  let ok = true;
  let got;
  try {
    got = await work();
  } catch (error) {
    ok = false;
    got = String(error.stack);
  }
  console.log(JSON.stringify({ case: name, ok, got }));
}
console.log(JSON.stringify({ case: "finished", ok: true, got: null }));
