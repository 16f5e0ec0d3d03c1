// A real OpenID provider (npm oidc-provider) for the tests of `weir login`, and a second port by which a test has things
// done to it: changed accounts, revoked grants, rotated keys, outages, signed security events.
//
// Usage: node provider.mjs READY_FILE. The file gets {"issuer": …, "control": …} once both ports answer.

import { randomUUID, webcrypto } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { visit } from "./person.mjs";

// The distribution's Node.js 18 lacks two things that the provider uses.
globalThis.crypto ??= webcrypto;
URL.parse ??= (text, base) => {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
};

const modules = process.env.WEIR_TEST_NODE_MODULES;
const { Provider } = await import(pathToFileURL(path.join(modules, "oidc-provider/lib/index.js")));
const jose = await import(
  pathToFileURL(createRequire(path.join(modules, "oidc-provider/package.json")).resolve("jose"))
);

// ---- what the provider knows

const store = new Map(); // "Model:id" -> payload
const accounts = new Map(); // login -> claims
const seen = []; // requests, for the tests to look at
// Every token that was given to a client.
const issued = [];
let keys = [];
let mode = "up";
let omitGroups = false;
const queue = new Map(); // jti -> SET, for polling
const acknowledged = [];

class Adapter {
  constructor(model) {
    this.model = model;
  }
  key(id) {
    return `${this.model}:${id}`;
  }
  async upsert(id, payload) {
    store.set(this.key(id), { ...store.get(this.key(id)), ...payload });
  }
  async find(id) {
    return store.get(this.key(id));
  }
  async findByUid(uid) {
    return [...store.values()].find((payload) => payload.kind === "Session" && payload.uid === uid);
  }
  async findByUserCode(code) {
    return [...store.values()].find((payload) => payload.userCode === code);
  }
  async destroy(id) {
    store.delete(this.key(id));
  }
  async revokeByGrantId(grantId) {
    for (const [key, payload] of store) {
      if (payload.grantId === grantId) store.delete(key);
    }
  }
  async consume(id) {
    const payload = store.get(this.key(id));
    if (payload) payload.consumed = Math.floor(Date.now() / 1000);
  }
}

async function newKey() {
  const { privateKey } = await jose.generateKeyPair("ES256", { extractable: true });
  const key = await jose.exportJWK(privateKey);
  return { ...key, kid: randomUUID().slice(0, 8), alg: "ES256", use: "sig" };
}

function account(login) {
  return accounts.get(login) ?? { preferred_username: login, groups: [] };
}

let issuer = "";

function build() {
  const client = (more) => ({
    application_type: "native",
    redirect_uris: ["http://127.0.0.1/callback"],
    response_types: ["code"],
    grant_types: [
      "authorization_code",
      "refresh_token",
      "urn:ietf:params:oauth:grant-type:device_code",
    ],
    id_token_signed_response_alg: "ES256",
    token_endpoint_auth_method: "none",
    ...more,
  });
  const provider = new Provider(issuer, {
    adapter: Adapter,
    jwks: { keys },
    clients: [
      client({ client_id: "weir" }),
      ...(site
        ? [client({ client_id: "weir-web", application_type: "web", redirect_uris: [site] })]
        : []),
      client({
        client_id: "weir-secret",
        client_secret: "a secret of thirty-two characters",
        token_endpoint_auth_method: "client_secret_basic",
      }),
      client({
        client_id: "weir-key",
        token_endpoint_auth_method: "private_key_jwt",
        token_endpoint_auth_signing_alg: "ES256",
        jwks: { keys: clientKeys },
      }),
    ],
    claims: {
      openid: ["sub"],
      profile: ["preferred_username"],
      email: ["email", "email_verified"],
      groups: ["groups", "_claim_names"],
    },
    scopes: ["openid", "offline_access"],
    conformIdTokenClaims: false,
    clientBasedCORS: () => false,
    cookies: { keys: ["one that signs cookies in tests"] },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      dPoP: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
    },
    issueRefreshToken: async () => true,
    rotateRefreshToken: true,
    acrValues: ["urn:weir:two-factors"],
    ttl: {
      AccessToken: () => lifetime,
      IdToken: () => lifetime,
      RefreshToken: () => 86400,
      DeviceCode: () => deviceLifetime,
    },
    findAccount: async (_ctx, sub) => ({
      accountId: sub,
      claims: async () => {
        const claims = { sub, ...account(sub) };
        if (omitGroups) delete claims.groups;
        return claims;
      },
    }),
  });
  provider.use(async (context, next) => {
    await next();
    const grant = context.oidc?.params?.grant_type;
    for (const name of ["access_token", "refresh_token", "id_token"]) {
      if (grant && context.body?.[name]) issued.push(context.body[name]);
    }
    if (grant) seen.push({ grant, status: context.status });
  });
  provider.on("server_error", (_context, error) => console.error(error));
  return provider.callback();
}

let site = "";
let lifetime = 3600;
let deviceLifetime = 600;
const pair = await jose.generateKeyPair("ES256", { extractable: true });
const clientKeys = [{ ...(await jose.exportJWK(pair.publicKey)), kid: "weir-key", use: "sig" }];

// ---- the provider's port

let handle = (_request, response) => response.end();
const server = http.createServer((request, response) => {
  let body = "";
  const place = new URL(request.url, "http://x");
  seen.push({ method: request.method, path: place.pathname });
  if (mode === "down") return void request.socket.destroy();
  if (mode === "silent") return;
  if (mode === "error") return void response.writeHead(500).end("no");
  if (mode === "redirect") return void response.writeHead(302, { Location: `${issuer}/jwks` }).end();
  if (place.pathname === "/ssf/poll") return void poll(request, response);
  return handle(request, response);
});

async function poll(request, response) {
  const body = await text(request);
  if (request.headers.authorization !== "Bearer poll-secret") return response.writeHead(401).end();
  for (const id of body.ack ?? []) {
    acknowledged.push(id);
    queue.delete(id);
  }
  for (const id of Object.keys(body.setErrs ?? {})) {
    acknowledged.push(`refused ${id}`);
    queue.delete(id);
  }
  const sets = Object.fromEntries(queue);
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(JSON.stringify({ sets, moreAvailable: false }));
}

async function text(request) {
  let whole = "";
  for await (const chunk of request) whole += chunk;
  return JSON.parse(whole || "{}");
}

// ---- the tests' port

async function sign({ header = {}, claims = {} }) {
  const key = await jose.importJWK(keys[0], "ES256");
  return new jose.SignJWT(claims)
    .setProtectedHeader({ alg: "ES256", kid: keys[0].kid, ...header })
    .sign(key);
}

const orders = {
  async account({ login, claims }) {
    accounts.set(login, claims);
  },
  async omit_groups({ value }) {
    omitGroups = value;
  },
  async revoke({ login }) {
    for (const [key, payload] of store) {
      if (payload.accountId === login && key.startsWith("Grant:")) store.delete(key);
      if (payload.accountId === login && key.startsWith("RefreshToken:")) store.delete(key);
    }
  },
  async rotate() {
    keys = [await newKey()];
    handle = build();
  },
  async site({ redirect }) {
    site = redirect;
    handle = build();
  },
  async mode({ value }) {
    mode = value;
  },
  async lifetime({ seconds, device }) {
    lifetime = seconds ?? lifetime;
    deviceLifetime = device ?? deviceLifetime;
    handle = build();
  },
  async requests() {
    return seen;
  },
  async refresh_tokens() {
    return [...store].filter(([key, it]) => key.startsWith("RefreshToken:") && !it.consumed).length;
  },
  async issued() {
    return issued;
  },
  async sign(order) {
    return sign(order);
  },
  async queue({ id, set }) {
    queue.set(id, set);
  },
  async acknowledged() {
    return acknowledged;
  },
  async visit({ url, login, deny, alter, until }) {
    return visit(url, login, { deny, alter, until });
  },
};

const control = http.createServer(async (request, response) => {
  try {
    const order = await text(request);
    const answer = (await orders[order.op](order)) ?? null;
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
  } catch (error) {
    response.writeHead(500).end(String(error.stack));
  }
});

async function listen(target) {
  await new Promise((resolve) => target.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${target.address().port}`;
}

issuer = await listen(server);
keys = [await newKey()];
handle = build();
const ready = process.argv[2];
const client_key = await jose.exportPKCS8(pair.privateKey);
const about = { issuer, control: await listen(control), client_key };
fs.writeFileSync(`${ready}.partial`, JSON.stringify(about));
fs.renameSync(`${ready}.partial`, ready);
