// A real OAuth server for the tests: the npm package oidc-provider with a memory that tests can reach.
//
// argv[2] is the folder whose node_modules holds the package. The first line of stdin is the configuration, the
// first line of stdout is `{"port": …}` once it answers. The process ends when stdin does, so that none
// outlives its parent.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const lines = createInterface({ input: process.stdin });
lines.once('line', (line) => serve(JSON.parse(line)));
lines.once('close', () => process.exit(0));

const records = new Map(); // `${model}:${id}` -> what the server remembers under it
const counts = { token: 0, code: 0, refresh: 0, invalid_grant: 0, revoked: 0, resource: 0, unauthorized: 0 };
const seen = []; // every request to the token, revocation and resource routes, as it came
const ISSUED = [
  'AccessToken', 'ClientCredentials', 'RefreshToken', 'AuthorizationCode', 'DeviceCode', 'Grant',
];
const planned = []; // answers that the next token requests get instead of ours

async function serve(config) {
  const http = createServer();
  await new Promise((resolve) => { http.listen(0, '127.0.0.1', resolve); });
  const { port } = http.address();
  const issuer = `http://127.0.0.1:${port}`;
  const installed = createRequire(join(process.argv[2], 'package.json'));
  const { Provider } = await import(pathToFileURL(installed.resolve('oidc-provider')));
  for (const client of config.clients) {
    records.set(`Client:${client.id}`, {
      client_id: client.id,
      client_secret: client.secret,
      redirect_uris: config.redirect_uris,
      response_types: ['code'],
      grant_types: [
        'authorization_code', 'refresh_token', 'client_credentials',
        'urn:ietf:params:oauth:grant-type:device_code',
      ],
    });
  }
  const provider = new Provider(issuer, {
    adapter: Records,
    clockTolerance: 0, // an expired token is expired: the default forgives 15 seconds
    cookies: { keys: [randomBytes(24).toString('hex')] },
    scopes: config.scopes,
    claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: !config.id_token_claims, // else only its userinfo endpoint says them
    pkce: { required: () => true }, // the package knows S256 alone
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: true }, // a login form and a consent form
      introspection: { enabled: true },
      revocation: { enabled: true },
    },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => claimsOf(id, config) }),
    issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
    expiresWithSession: async () => false,
    rotateRefreshToken: config.rotate,
    ttl: {
      AccessToken: config.access_token_ttl,
      ClientCredentials: config.access_token_ttl,
      AuthorizationCode: 60,
    },
  });
  provider.use(async (ctx, next) => {
    const route = `${ctx.method} ${ctx.path}`;
    if (route.startsWith('POST /control/')) return control(ctx, config);
    if (ctx.path === '/api/me') return resource(ctx, provider);
    if (route === 'POST /token') return token(ctx, next, config);
    if (route === 'POST /token/revocation') return revocation(ctx, next);
    await next();
    return nameIssuer(ctx, config);
  });
  http.on('request', provider.callback());
  process.stdout.write(`${JSON.stringify({ port })}\n`);
}

let turn = Promise.resolve();

async function token(ctx, next, config) {
  const form = new URLSearchParams(await note(ctx));
  const refreshes = form.get('grant_type') === 'refresh_token';
  counts.token += 1;
  if (form.get('grant_type') === 'authorization_code') counts.code += 1;
  if (refreshes) counts.refresh += 1;
  const plan = planned.shift();
  if (plan) {
    ctx.status = plan.status;
    ctx.set(plan.headers);
    ctx.body = plan.body;
    return;
  }
  // One at a time: two requests with one refresh token must never both find it unused.
  const before = turn;
  let release;
  turn = new Promise((resolve) => { release = resolve; });
  await before;
  try {
    await next();
  } finally {
    release();
  }
  if (ctx.body?.error === 'invalid_grant') counts.invalid_grant += 1;
  if (refreshes && !config.repeat_refresh_token) delete ctx.body.refresh_token;
  if (config.token_delay) await new Promise((resolve) => { setTimeout(resolve, config.token_delay * 1000); });
}

async function revocation(ctx, next) {
  await note(ctx);
  await next();
  if (ctx.status === 200) counts.revoked += 1;
}

async function resource(ctx, provider) {
  await note(ctx);
  counts.resource += 1;
  const [, value] = /^Bearer (\S+)$/i.exec(ctx.get('authorization')) ?? [];
  const found = value
    && (await provider.AccessToken.find(value) ?? await provider.ClientCredentials.find(value));
  if (!found) {
    counts.unauthorized += 1;
    ctx.status = 401;
    ctx.set('WWW-Authenticate', value ? 'Bearer error="invalid_token"' : 'Bearer');
    ctx.body = { error: 'invalid_token' };
    return;
  }
  const login = found.accountId ?? found.clientId;
  ctx.body = { login, name: nameOf(login), scope: found.scope ?? '' };
}

// RFC 9207: the package names its issuer in every authorization response; a test may want none, or a lie.
function nameIssuer(ctx, config) {
  const location = ctx.response.get('location') ?? '';
  if (config.iss === true || !config.redirect_uris.some((uri) => location.startsWith(uri))) return;
  const url = new URL(location);
  url.searchParams.delete('iss');
  if (config.iss) url.searchParams.set('iss', config.iss);
  ctx.set('Location', url.href);
}

async function control(ctx, config) {
  const message = JSON.parse(await note(ctx, { keep: false }));
  ctx.body = {};
  switch (ctx.path.slice('/control/'.length)) {
    case 'counts': ctx.body = counts; break;
    case 'requests': ctx.body = seen; break;
    case 'expire': forget(['AccessToken', 'ClientCredentials']); break;
    case 'revoke': forget(ISSUED); break;
    case 'plan': planned.push(...message.answers); break;
    case 'redirect-uri': config.redirect_uris.push(message.uri); break;
    default: ctx.status = 404;
  }
}

function forget(models) {
  for (const key of records.keys()) {
    if (models.includes(key.slice(0, key.indexOf(':')))) records.delete(key);
  }
}

// Reads the body once, for the log and for the package, which takes a body that was read before it.
async function note(ctx, { keep = true } = {}) {
  const chunks = [];
  for await (const chunk of ctx.req) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  ctx.req.body = body;
  if (keep) {
    seen.push({ method: ctx.method, path: ctx.path, query: ctx.querystring, headers: ctx.headers, body });
  }
  return body;
}

function claimsOf(login, config) {
  return { sub: login, name: nameOf(login), email: `${login}@example.com`, email_verified: config.email_verified };
}

function nameOf(login) {
  return login.charAt(0).toUpperCase() + login.slice(1);
}

// The memory of the server, as the package asks for it; the package judges expiry by each record's own `exp`.
class Records {
  constructor(model) { this.model = model; }

  key(id) { return `${this.model}:${id}`; }

  ofModel() { return [...records].filter(([key]) => key.startsWith(`${this.model}:`)); }

  async upsert(id, payload) { records.set(this.key(id), payload); }

  async find(id) { return records.get(this.key(id)); }

  async findByUid(uid) { return this.ofModel().find(([, payload]) => payload.uid === uid)?.[1]; }

  async findByUserCode(code) { return this.ofModel().find(([, payload]) => payload.userCode === code)?.[1]; }

  async consume(id) { records.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }

  async destroy(id) { records.delete(this.key(id)); }

  async revokeByGrantId(grant) {
    for (const [key, payload] of this.ofModel()) if (payload.grantId === grant) records.delete(key);
  }
}
