// Keys and tokens as an attacker, or a clock, would have them: `node tokens.mjs keys NAME` and `node tokens.mjs forge KEYS TOKEN WHAT`.
import { readFileSync } from 'node:fs';
import { SignJWT, base64url, decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, importJWK } from 'jose';

const [verb, ...rest] = process.argv.slice(2);
const encode = (value) => base64url.encode(JSON.stringify(value));

async function makeKeys(name) {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return JSON.stringify({ keys: [{ ...(await exportJWK(privateKey)), kid: name, use: 'sig', alg: 'RS256' }] });
}

async function forge(keys, token, what) {
  const [key] = JSON.parse(readFileSync(keys, 'utf8')).keys;
  const [header, claims] = [decodeProtectedHeader(token), decodeJwt(token)];
  switch (what) {
    case 'expired':
      return new SignJWT({ ...claims, exp: claims.iat - 3600 }).setProtectedHeader(header).sign(await importJWK(key, 'RS256'));
    case 'none':
      return `${encode({ ...header, alg: 'none' })}.${encode(claims)}.`;
    case 'hmac':
      return new SignJWT(claims).setProtectedHeader({ ...header, alg: 'HS256' }).sign(new TextEncoder().encode(key.n));
    case 'altered': {
      const [head, , signature] = token.split('.');
      return `${head}.${encode({ ...claims, tenant: 'ops' })}.${signature}`;
    }
    default:
      throw new Error(`${what}: expired, none, hmac or altered`);
  }
}

console.log(verb === 'keys' ? await makeKeys(...rest) : await forge(...rest));
