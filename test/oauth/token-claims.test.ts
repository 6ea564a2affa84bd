import { expect, test } from 'vitest';
import { readTokenClaims } from '../../src/oauth/token-claims.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';

const objectId = '99999999-8888-7777-6666-555555555555';

const tokenOf = (payload: string): SecretBytes =>
  SecretBytes.take(Buffer.from(`eyJhbGciOiJSUzI1NiJ9.${Buffer.from(payload).toString('base64url')}.c2lnbmF0dXJl`));

test('roles and object id of a JWT are read, and nothing else', () => {
  using token = tokenOf(
    JSON.stringify({ oid: objectId, roles: ['IMAP.AccessAsApp'], unique_name: 'anna', tid: 'ÄÖ?>' }),
  );
  expect(readTokenClaims(token)).toEqual({ objectId, roles: ['IMAP.AccessAsApp'] });
});

test.each([
  ['other types', '{"oid":7,"roles":"x"}', { objectId: null, roles: [] }],
  ['a hostile role', '{"roles":["a b","\\u001b[31m",3]}', { objectId: null, roles: [] }],
  ['an object id that is none', '{"oid":"$(calc)"}', { objectId: null, roles: [] }],
  ['no object', '"x"', null],
  ['no JSON', '{', null],
])('%s', (_what, payload, claims) => {
  using token = tokenOf(payload);
  expect(readTokenClaims(token)).toEqual(claims);
});

test('an opaque token has none', () => {
  using token = SecretBytes.take(Buffer.from('opaque'));
  expect(readTokenClaims(token)).toBeNull();
});
