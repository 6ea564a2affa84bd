/**
 * Credential files of an application, read at each use into secret bytes: client secret, private key, service account.
 *
 * Nothing of them is held, so a new file is in force at the next request. At most 64 KiB. A file that cannot be used
 * throws `oauth_provider_failed`: it is tried again automatically, and works once the file is right.
 */
import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { thisUser } from '../../config/machine.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { causeCode, Failure } from '../../errors.ts';
import { SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';
import { shellArgOrNotice } from '../../text/shell.ts';
import { takeSecrets, wipeSecrets } from './json-secrets.ts';
import { certificateThumbprint, type PrivateKeyDer, readPrivateKey } from './pem-key.ts';

const fileBytesMax = 64 * 1024;

/** O_NONBLOCK: opening a named pipe without a writer would hold a thread of the pool for good; four stop all files. */
const toRead = constants.O_RDONLY | constants.O_NONBLOCK;

/** The caller wipes it. Only a regular file is read. */
async function readFileBytes(provider: string, path: string): Promise<SecretBytes> {
  const room = secretBuffer(fileBytesMax + 1);
  try {
    await using file = await open(path, toRead);
    if (!(await file.stat()).isFile()) throw fileFailure(provider, path, 'not_a_file');
    let length = 0;
    while (length < room.length) {
      const { bytesRead } = await file.read(room, length, room.length - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length > fileBytesMax) throw fileFailure(provider, path, 'file_too_long');
    return SecretBytes.take(room.subarray(0, length));
  } catch (error) {
    throw error instanceof Failure ? error : fileFailure(provider, path, causeCode(error));
  } finally {
    room.fill(0);
  }
}

const hints: Readonly<Record<string, string>> = {
  key_encrypted: 'Write the private key without a passphrase: openssl pkey -in OLD -out NEW',
  key_missing: 'The file holds no private key (PEM): -----BEGIN PRIVATE KEY-----',
  key_of_other_kind: 'The key has to be RSA or EC (P-256, P-384, P-521).',
  not_a_file: 'It has to be a regular file, or a link to one: no named pipe, device or folder.',
  secret_empty: 'Write the client secret into it, in one line.',
  not_a_service_account: 'It has to be the JSON file of a service account, with client_email and private_key.',
};

export function fileFailure(provider: string, path: string, cause: string): Failure {
  return new Failure(
    'oauth_provider_failed',
    `The file ${path} of the provider ${provider} cannot be used (${cause}).`,
    {
      fields: { provider, cause, was_sent: false },
      hint: hints[cause] ?? 'Check that the file exists and that the user of the daemon may read it.',
    },
  );
}

const [lineFeed, carriageReturn] = [0x0a, 0x0d];

/** One line end is left out. The caller wipes it. */
export async function readClientSecret(provider: string, path: string): Promise<SecretBytes> {
  using content = await readFileBytes(provider, path);
  return content.use((bytes) => {
    let end = bytes.length;
    if (bytes[end - 1] === lineFeed) end -= 1;
    if (bytes[end - 1] === carriageReturn) end -= 1;
    if (end === 0) throw fileFailure(provider, path, 'secret_empty');
    return SecretBytes.take(bytes.subarray(0, end));
  });
}

/** The caller wipes the key. */
export async function readKeyFile(provider: string, path: string): Promise<PrivateKeyDer> {
  using content = await readFileBytes(provider, path);
  const key = content.use(readPrivateKey);
  if (typeof key === 'string') throw fileFailure(provider, path, key);
  return key;
}

export async function readThumbprint(provider: string, path: string): Promise<string> {
  using content = await readFileBytes(provider, path);
  const thumbprint = content.use(certificateThumbprint);
  if (thumbprint === null) throw fileFailure(provider, path, 'no_certificate');
  return thumbprint;
}

export type ServiceAccount = { readonly email: string; readonly keyId: string | null; readonly key: PrivateKeyDer };

const serviceAccountNames = {
  secret: new Set(['private_key']),
  public: new Set(['type', 'client_email', 'private_key_id']),
};

/** The caller wipes the key. */
export async function readServiceAccount(provider: string, path: string): Promise<ServiceAccount> {
  using content = await readFileBytes(provider, path);
  const { json, secrets } = content.use((bytes) => takeSecrets(bytes, serviceAccountNames));
  try {
    const email = json?.['client_email'];
    const keyId = json?.['private_key_id'];
    const key = secrets.get('private_key')?.use(readPrivateKey);
    if (typeof email !== 'string' || key === undefined) throw fileFailure(provider, path, 'not_a_service_account');
    if (typeof key === 'string') throw fileFailure(provider, path, key);
    return { email, keyId: typeof keyId === 'string' ? keyId : null, key };
  } finally {
    wipeSecrets(secrets);
  }
}

/** Read or written by others, or written by the group; a group may read, as that of a systemd credential. */
const modeOfOthers = 0o037;

/**
 * Reads every file of the credential as a token request does, and wipes what it read. Throws `oauth_provider_failed`,
 * also for a private file that other users may read.
 */
export async function checkCredentialFiles({ name, credential }: OAuthProvider): Promise<void> {
  switch (credential.kind) {
    case 'none':
      return;
    case 'secret':
      (await readClientSecret(name, credential.file)).wipe();
      return await checkMode(name, credential.file);
    case 'service_account':
      (await readServiceAccount(name, credential.file)).key.der.wipe();
      return await checkMode(name, credential.file);
    case 'private_key':
      (await readKeyFile(name, credential.keyFile)).der.wipe();
      if (credential.certificateFile !== null) await readThumbprint(name, credential.certificateFile);
      return await checkMode(name, credential.keyFile);
  }
}

async function checkMode(provider: string, path: string): Promise<void> {
  const { mode, uid } = await stat(path).catch((error: unknown) => {
    throw fileFailure(provider, path, causeCode(error));
  });
  if ((mode & modeOfOthers) === 0) return;
  const file = shellArgOrNotice(path);
  const owner = uid === process.getuid?.() ? '' : `chown ${shellArgOrNotice(thisUser())} ${file} && `;
  const message = `The file ${path} of the provider ${provider} works, but other users of this machine may read or replace it.`;
  throw new Failure('oauth_provider_failed', message, {
    fields: { provider, cause: 'open_to_others', was_sent: false },
    hint: `Keep it from them: ${owner}chmod 600 ${file}`,
  });
}
