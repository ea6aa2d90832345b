// A real OpenID provider on this machine: `node provider.mjs PORT KEYS`, where KEYS is a file with private JSON Web Keys.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [port, keys] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const resource = (name) => ({
  scope: 'use', audience: name.split(':').at(-1), accessTokenTTL: 600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
});
const provider = new Provider(issuer, {
  jwks: JSON.parse(readFileSync(keys, 'utf8')),
  clients: [{
    client_id: 'robot', client_secret: 'a secret that only this test knows', grant_types: ['client_credentials'],
    redirect_uris: [], response_types: [], token_endpoint_auth_method: 'client_secret_post',
  }],
  scopes: ['use'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: (_, name) => resource(name), useGrantedResource: () => true },
  },
  extraTokenClaims: () => ({ tenant: 'acme' }),
});
createServer(provider.callback()).listen(Number(port), '127.0.0.1', () => console.log(`ready on ${issuer}`));
