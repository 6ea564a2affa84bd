/** Tokens in the world of a test: stored in plain text or sealed, and opened as a worker does. */
import { Failure } from '../../src/errors.ts';
import type { Key } from '../../src/secret/key.ts';
import { sealToken, unsealToken } from '../../src/secret/sealed-token.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { type StoredTokenRow, tokenContextOf, type World } from './memory-ports.ts';
import { keysInFile } from './stored-passwords.ts';

type Kind = StoredTokenRow['kind'];

const textOf = (kind: Kind, name: string): string => `${kind} token of ${name}`;
const contextOf = (row: StoredTokenRow) => ({ ...tokenContextOf(row), binding: [row.provider] });

export function putToken(world: World, kind: Kind, name: string, provider = 'm365'): StoredTokenRow {
  const bytes = new TextEncoder().encode(textOf(kind, name));
  const row: StoredTokenRow = { kind, name, provider, form: 'plain', bytes, keyId: null, isEnded: false };
  world.tokens.set(`${kind} ${name}`, row);
  return row;
}

/** `column`: the key id in the row; by default that of the key. */
export function putSealedToken(
  world: World,
  key: Key,
  kind: Kind,
  name: string,
  column: string | null = key.id,
): StoredTokenRow {
  const row = putToken(world, kind, name);
  using token = SecretBytes.take(row.bytes ?? new Uint8Array());
  return Object.assign(row, { form: 'sealed', bytes: sealToken(token, key, contextOf(row)), keyId: column });
}

/** Form of each token, and why it does not open, by kind and name. */
export function tokenForms(world: World): Readonly<Record<string, string>> {
  const forms = [...world.tokens].map(([at, row]) => [at, `${row.form}${faultOf(row, world)}`] as const);
  return Object.fromEntries(forms);
}

function faultOf(row: StoredTokenRow, world: World): string {
  const { bytes, form, kind, name } = row;
  if (bytes === null) return ', dropped';
  if (form === 'plain') return new TextDecoder().decode(bytes) === textOf(kind, name) ? '' : ', another';
  try {
    using token = unsealToken(bytes, keysInFile(world), contextOf(row));
    return token.use((opened) => new TextDecoder().decode(opened)) === textOf(kind, name) ? '' : ', another';
  } catch (error) {
    if (error instanceof Failure) return `, ${error.code}`;
    throw error;
  }
}
