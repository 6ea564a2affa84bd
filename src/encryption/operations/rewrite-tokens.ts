/**
 * Batch rewrite of stored OAuth tokens by the operations on the switch: refresh tokens are sealed, resealed and
 * unsealed, access tokens resealed or dropped.
 *
 * A refresh token that cannot be opened stays as it is and is returned; an access token that cannot is dropped, since
 * it is requested again. Sealing and unsealing need the provider in the configuration, resealing does not.
 */
import { isFailure } from '../../errors.ts';
import type { Key, KeyId, KeySet } from '../../secret/key.ts';
import { keyIdOfSealedToken } from '../../secret/sealed-token.ts';
import type { EncryptionStore, SealCounts, TokenRewrite, TokenRewriteRow } from '../ports.ts';
import { resealTokenRow, sealTokenRow, unsealTokenRow } from '../token-rows.ts';
import type { Operation } from './operation.ts';
import {
  type CountChanged,
  type HeaderPassResult,
  type RewritePass,
  type RewriteTable,
  rewriteAll,
  rewriteUntilNoneLeft,
  rewriteUntilUnchanged,
  type UnopenedByName,
} from './rewrite.ts';

type TokenPass = RewritePass<TokenRewriteRow, TokenRewrite>;

function tokens(kind: TokenRewriteRow['kind']): RewriteTable<TokenRewriteRow, TokenRewrite> {
  return {
    rewrite: (store, batch, change) => store.rewriteTokens({ ...batch, kind }, change),
    ownerOf: ({ name: grant }) => ({ grant }),
    counts: async (store) => (await store.tokenCounts())[kind],
  };
}

/** Seals all plain-text refresh tokens, for a switch that is not on yet. Returns those that cannot be sealed. */
export async function sealAllTokens(
  operation: Operation,
  key: Key,
  revision: number,
  count: CountChanged,
): Promise<UnopenedByName> {
  const pass = sealingPass(operation, key, revision, count);
  return await rewriteUntilNoneLeft(operation, pass, ({ plaintext }) => plaintext);
}

/** As `sealAllTokens`, in one pass: for a switch that is on, where workers seal as well. */
export async function sealTokensOnce(
  operation: Operation,
  key: Key,
  revision: number,
  count: CountChanged,
): Promise<UnopenedByName> {
  const pass = sealingPass(operation, key, revision, count);
  const { plaintext } = await pass.table.counts(operation.ports.store);
  return (await rewriteAll(operation, pass, plaintext)).unopened;
}

function sealingPass({ ports }: Operation, key: Key, revision: number, countChanged: CountChanged): TokenPass {
  const change: TokenPass['change'] = async (row) => sealTokenRow(row, key, ports.bindingOf);
  return { table: tokens('refresh'), selection: 'plain', revision, action: 'token.sealed', countChanged, change };
}

/** Reseals under `key` all tokens that, by their column, are under another key or none. */
export async function resealTokensByColumn(
  operation: Operation,
  keys: KeySet,
  key: Key,
  revision: number,
  countChanged: CountChanged,
): Promise<UnopenedByName> {
  const reseal = (kind: TokenRewriteRow['kind'], change: TokenPass['change']) =>
    rewriteUntilUnchanged(operation, {
      table: tokens(kind),
      selection: { notUnder: key.id },
      revision,
      action: 'token.resealed',
      countChanged,
      change,
    });
  await reseal('access', async (row) => resealOrDrop(row, keys, key));
  return await reseal('refresh', async (row) => resealTokenRow(row, keys, key));
}

function resealOrDrop(row: TokenRewriteRow, keys: KeySet, key: Key): TokenRewrite {
  try {
    return resealTokenRow(row, keys, key);
  } catch (error) {
    if (!isFailure(error, 'token_damaged', 'key_unknown')) throw error;
    return { form: 'dropped' };
  }
}

/**
 * Reseals by the header of each sealed token, since its column may be wrong. Returns the refresh tokens that cannot be
 * opened, and the keys that they need.
 */
export async function resealTokensByHeader(
  operation: Operation,
  keys: KeySet,
  key: Key,
  revision: number,
  countChanged: CountChanged,
): Promise<HeaderPassResult> {
  const neededIds = new Set<KeyId>();
  const reseal = async (kind: TokenRewriteRow['kind'], change: TokenPass['change']) => {
    const table = tokens(kind);
    const { sealed } = await table.counts(operation.ports.store);
    const pass = { table, selection: 'sealed', revision, action: 'token.resealed', countChanged, change } as const;
    return (await rewriteAll(operation, pass, sealed)).unopened;
  };
  await reseal('access', async (row) => (isUnder(row, key) ? null : resealOrDrop(row, keys, key)));
  const unopened = await reseal('refresh', async (row) => {
    const keyId = keyIdOfSealedToken(row.bytes);
    if (keyId === key.id) return null;
    try {
      return resealTokenRow(row, keys, key);
    } catch (error) {
      neededIds.add(keyId);
      throw error;
    }
  });
  return { unopened, neededIds };
}

function isUnder({ bytes }: TokenRewriteRow, key: Key): boolean {
  try {
    return keyIdOfSealedToken(bytes) === key.id;
  } catch (error) {
    if (!isFailure(error, 'token_damaged')) throw error;
    return false;
  }
}

/** Restores all sealed refresh tokens to plain text. */
export async function unsealAllTokens(
  operation: Operation,
  keys: KeySet,
  revision: number,
  countChanged: CountChanged,
): Promise<UnopenedByName> {
  const { bindingOf } = operation.ports;
  const change: TokenPass['change'] = async (row) => unsealTokenRow(row, keys, bindingOf);
  const pass = { table: tokens('refresh'), selection: 'sealed', revision, countChanged, change } as const;
  return await rewriteUntilNoneLeft(operation, { ...pass, action: 'token.unsealed' }, ({ sealed }) => sealed);
}

/** Passwords and tokens of both kinds together. */
export async function secretCounts(
  store: Pick<EncryptionStore, 'passwordCounts' | 'tokenCounts'>,
): Promise<SealCounts> {
  const { refresh, access } = await store.tokenCounts();
  const all = [await store.passwordCounts(), refresh, access];
  const byKey = Map.groupBy(
    all.flatMap((counts) => counts.byKey),
    ({ keyId }) => keyId,
  );
  return {
    sealed: all.reduce((sum, { sealed }) => sum + sealed, 0),
    plaintext: all.reduce((sum, { plaintext }) => sum + plaintext, 0),
    byKey: [...byKey].map(([keyId, of]) => ({ keyId, count: of.reduce((sum, { count }) => sum + count, 0) })),
  };
}
