/**
 * Rewrites of one stored token: sealed, re-encrypted and unsealed, bound to its grant and to its provider in the
 * configuration.
 */
import { Failure } from '../errors.ts';
import type { Key, KeySet } from '../secret/key.ts';
import { resealToken, sealToken, type TokenContext, unsealToken } from '../secret/sealed-token.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import { printableLine } from '../text/printable.ts';
import type { TokenRewrite, TokenRewriteRow } from './ports.ts';

/** `providerBinding` of a provider in the configuration; null: there is none of that name. */
export type BindingOf = (provider: string) => readonly string[] | null;

/** Throws `token_damaged`, `oauth_provider_unknown`. */
export function sealTokenRow(row: TokenRewriteRow, key: Key, bindingOf: BindingOf): TokenRewrite {
  const context = contextOf(row, bindingOf);
  using token = SecretBytes.take(row.bytes);
  return { form: 'sealed', sealed: sealToken(token, key, context), keyId: key.id };
}

/** Needs no configuration: the context stays as it is. Throws `token_damaged`, `key_unknown`. */
export function resealTokenRow({ bytes }: TokenRewriteRow, keys: KeySet, key: Key): TokenRewrite {
  return { form: 'sealed', sealed: resealToken(bytes, keys, key), keyId: key.id };
}

/** Throws `token_damaged`, `token_bound_elsewhere`, `oauth_provider_unknown`, `key_unknown`. */
export function unsealTokenRow(row: TokenRewriteRow, keys: KeySet, bindingOf: BindingOf): TokenRewrite {
  return { form: 'plain', token: unsealToken(row.bytes, keys, contextOf(row, bindingOf)) };
}

function contextOf(row: TokenRewriteRow, bindingOf: BindingOf): TokenContext {
  const { grantId, account, kind, username, provider } = row;
  const binding = bindingOf(provider);
  if (binding !== null) return { grantId, binding, account, kind, username };
  const message = `there is no provider named ${printableLine(provider)} in the configuration`;
  throw new Failure('oauth_provider_unknown', message);
}
