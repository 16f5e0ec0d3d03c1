// A real OpenID provider (npm oidc-provider) for services and AI agents: client credentials by private_key_jwt, and a
// token exchange (RFC 8693) that verifies both tokens before it gives one for both. A second port does what tests need
// done: sign any claims, change how the exchange answers, count what was asked.
//
// Usage: node provider.mjs READY_FILE CLIENTS_FILE. CLIENTS_FILE is a list of {"id": …, "alg": …, "key": PEM file};
// READY_FILE gets {"issuer": …, "control": …} once both ports answer.

import { createPublicKey, randomUUID, webcrypto } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

// Older Node.js lacks two things that the provider uses.
globalThis.crypto ??= webcrypto;
URL.parse ??= (text, base) => {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
};

const modules = process.env.WEIR_TEST_NODE_MODULES;
const load = (file) => import(pathToFileURL(file));
const { Provider, errors } = await load(path.join(modules, "oidc-provider/lib/index.js"));
const near = createRequire(path.join(modules, "oidc-provider/package.json"));
const jose = await load(near.resolve("jose"));

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE = "urn:ietf:params:oauth:token-type:";
const AUDIENCE = "weir";
const RESOURCE = "urn:weir";

const [readyFile, clientsFile] = process.argv.slice(2);
const clients = JSON.parse(fs.readFileSync(clientsFile, "utf8"));
const { privateKey } = await jose.generateKeyPair("ES256", { extractable: true });
const key = { ...(await jose.exportJWK(privateKey)), kid: "k1", alg: "ES256", use: "sig" };
const keySet = jose.createLocalJWKSet({ keys: [{ ...key, d: undefined }] });

let issuer = "";
let lifetime = 300;
let change = {}; // what the exchange says instead of the truth
const seen = [];

async function sign(claims, typ = "at+jwt") {
  const now = Math.floor(Date.now() / 1000);
  return new jose.SignJWT({ iss: issuer, aud: AUDIENCE, iat: now, exp: now + lifetime, jti: randomUUID(), ...claims })
    .setProtectedHeader({ alg: "ES256", kid: key.kid, typ })
    .sign(privateKey);
}

function build() {
  const provider = new Provider(issuer, {
    jwks: { keys: [key] },
    clients: clients.map(({ id, alg, key: file }) => ({
      client_id: id,
      redirect_uris: [],
      response_types: [],
      grant_types: ["client_credentials", EXCHANGE],
      id_token_signed_response_alg: "ES256",
      token_endpoint_auth_method: "private_key_jwt",
      token_endpoint_auth_signing_alg: alg,
      jwks: { keys: [createPublicKey(fs.readFileSync(file)).export({ format: "jwk" })] },
    })),
    enabledJWA: { clientAuthSigningAlgValues: ["ES256", "RS256", "EdDSA", "Ed25519"] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          audience: AUDIENCE,
          scope: "",
          accessTokenFormat: "jwt",
          accessTokenTTL: lifetime,
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
    cookies: { keys: ["one that signs cookies in tests"] },
  });
  const parameters = "subject_token subject_token_type actor_token actor_token_type requested_token_type audience resource scope";
  provider.registerGrantType(EXCHANGE, exchange, parameters.split(" "));
  provider.on("server_error", (_context, error) => console.error(error));
  provider.on("grant.error", (_context, error) => console.error(error.message, error.error_detail ?? ""));
  return provider.callback();
}

async function exchange(context) {
  const { params, client } = context.oidc;
  const read = async (name, type) => {
    try {
      return (await jose.jwtVerify(params[name], keySet, { issuer, audience: AUDIENCE })).payload;
    } catch (error) {
      throw new errors.InvalidGrant(`${name} (${type}): ${error.message}`);
    }
  };
  const subject = await read("subject_token", params.subject_token_type);
  const actor = await read("actor_token", params.actor_token_type);
  if (actor.client_id !== client.clientId) throw new errors.InvalidGrant("the actor token is another client's");
  if (subject.forbids?.includes(actor.sub)) throw new errors.InvalidGrant("this person lets nobody act");
  const act = subject.act ? { sub: actor.sub, act: subject.act } : { sub: actor.sub };
  const assertion = params.requested_token_type === `${TYPE}id-jag`;
  const claims = assertion
    ? { sub: subject.sub, client_id: client.clientId, aud: params.audience ?? AUDIENCE }
    : { sub: subject.sub, client_id: client.clientId, act };
  seen.push({ subject: subject.sub, actor: actor.sub, type: params.requested_token_type });
  context.body = {
    access_token: await sign({ ...claims, ...change.claims }, change.typ ?? (assertion ? "oauth-id-jag+jwt" : "at+jwt")),
    issued_token_type: change.type ?? (assertion ? `${TYPE}id-jag` : `${TYPE}access_token`),
    token_type: assertion ? "N_A" : "Bearer",
    expires_in: lifetime,
  };
}

const orders = {
  sign: ({ claims, typ }) => sign(claims, typ),
  change: (order) => void (change = order.to ?? {}),
  lifetime({ seconds }) {
    lifetime = seconds;
    handle = build();
  },
  exchanges: () => seen,
};

async function text(request) {
  let whole = "";
  for await (const chunk of request) whole += chunk;
  return whole;
}

async function listen(server) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${server.address().port}`;
}

let handle = (_request, response) => response.end();
issuer = await listen(http.createServer((request, response) => handle(request, response)));
handle = build();
const control = await listen(
  http.createServer(async (request, response) => {
    try {
      const order = JSON.parse(await text(request));
      const answer = (await orders[order.op](order)) ?? null;
      response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
    } catch (error) {
      response.writeHead(500).end(String(error.stack));
    }
  }),
);
fs.writeFileSync(`${readyFile}.partial`, JSON.stringify({ issuer, control }));
fs.renameSync(`${readyFile}.partial`, readyFile);
