/**
 * Token sealing for the workflows of OAuth 2: tokens in the form that the switch requires, and stored ones opened.
 *
 * The column names the form; it is never guessed. A sealed token opens only in its context. While encryption is on, a
 * refresh token in plain text, as a helpdesk writes it, is sealed first, and an access token in plain text is refused:
 * only this program writes one. Throws `key_file_missing`, `key_file_refused`, `key_file_locked`, `key_unknown`,
 * `token_damaged`, `token_bound_elsewhere`, `database_*`.
 */
import { Failure, isFailure } from '../errors.ts';
import type { KeyId } from '../secret/key.ts';
import { isValidToken, sealToken, type TokenContext, tokenBytesMax, unsealToken } from '../secret/sealed-token.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import { sealingInForce } from './passwords.ts';
import { isEncryptionOn, type Vault } from './vault.ts';

/** A token to store, in the form that the switch requires at `switchRevision`: stored at no other revision. */
export type NewToken = { readonly switchRevision: number } & (
  | { readonly form: 'plain'; readonly token: SecretBytes }
  | { readonly form: 'sealed'; readonly sealed: Uint8Array; readonly keyId: KeyId }
);

/** A stored token, as one query read it with the revision of the switch. `form` is a column, never guessed. */
export type TokenReading = {
  readonly form: 'plain' | 'sealed';
  readonly bytes: Uint8Array;
  readonly switchRevision: number | null;
};

export interface TokenSealing {
  /**
   * In the form that the switch requires; fails closed when it is on and its key is not available. Borrows the token.
   */
  prepare(token: SecretBytes, context: TokenContext): Promise<NewToken>;
  /** Wipes the stored bytes. The receiver wipes the token. */
  open(stored: TokenReading, context: TokenContext): Promise<SecretBytes>;
}

export type TokenSealingPorts = {
  readonly vault: Vault;
  /** Seals the plain-text secrets in the tables, if the switch is on. */
  readonly sealPlaintext: () => Promise<void>;
};

export function createTokenSealing(ports: TokenSealingPorts): TokenSealing {
  return {
    prepare: async (token, context) => {
      const { key, switchRevision } = await sealingInForce(ports.vault);
      if (key === null) return { form: 'plain', token, switchRevision };
      return { form: 'sealed', sealed: sealToken(token, key, context), keyId: key.id, switchRevision };
    },
    open: async (stored, context) => {
      try {
        return await (stored.form === 'sealed'
          ? openSealed(stored, context, ports)
          : openPlain(stored, context, ports));
      } finally {
        stored.bytes.fill(0);
      }
    },
  };
}

/** Key file and switch may have changed since the last refresh: retries once when no open key fits. */
async function openSealed(
  { bytes }: TokenReading,
  context: TokenContext,
  { vault }: TokenSealingPorts,
): Promise<SecretBytes> {
  try {
    return unsealToken(bytes, vault.keys(), context);
  } catch (error) {
    if (!isFailure(error, 'key_unknown')) throw error;
  }
  const { state } = await vault.refresh();
  try {
    return unsealToken(bytes, vault.keys(), context);
  } catch (error) {
    if (!isFailure(error, 'key_unknown')) throw error;
    throw state.kind === 'missing' || state.kind === 'refused' ? state.failure : error;
  }
}

async function openPlain(
  { bytes, switchRevision }: TokenReading,
  { kind }: TokenContext,
  { vault, sealPlaintext }: TokenSealingPorts,
): Promise<SecretBytes> {
  if (switchRevision !== (vault.view.stored?.revision ?? null)) await vault.refresh();
  if (isEncryptionOn(vault.view)) {
    if (kind === 'access') throw notSealed();
    // Where that fails, which is logged, the token is used all the same: the renewal replaces it.
    await sealPlaintext();
  }
  if (isValidToken(bytes)) return SecretBytes.take(bytes);
  throw new Failure('token_damaged', `a stored token must have 1 to ${tokenBytesMax} bytes of printable ASCII`);
}

function notSealed(): Failure {
  return new Failure('token_damaged', 'a stored access token is in plain text although encryption is on');
}
