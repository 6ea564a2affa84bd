import { once } from 'node:events';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import tls, { type SecureContext } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemAuthorities } from '../../../src/adapters/process/tls-context.ts';
import { readCertificates } from '../../support/servers/authority.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const stack = new AsyncDisposableStack();
let store: string;
let authority: string;
let port: number;

beforeAll(async () => {
  store = join(stack.use(await temporaryFolder('store')).path, 'ca-certificates.crt');
  const { caPem, certificateFile, keyFile } = await readCertificates(await certificatesTemplate());
  authority = caPem;
  const server = tls.createServer({ cert: await readFile(certificateFile), key: await readFile(keyFile) }, (socket) =>
    socket.end(),
  );
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(() => void server.close());
  const address = server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});

afterAll(() => stack.disposeAsync());

async function isTrusted(secureContext: SecureContext): Promise<boolean> {
  const socket = tls.connect({ host: '127.0.0.1', port, secureContext, servername: 'localhost' });
  try {
    await once(socket, 'secureConnect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** As `update-ca-certificates` does it. */
async function replaceStore(text: string): Promise<void> {
  await writeFile(`${store}.new`, text);
  await rename(`${store}.new`, store);
}

test('an authority that is added to the store of the machine is trusted at once, and one that is taken out no more', async () => {
  await replaceStore('# none yet\n');
  const current = systemAuthorities(['/no/such/file', store]);
  const first = current();
  expect(await isTrusted(first)).toBe(false);
  expect(current()).toBe(first);
  await replaceStore(`Test authority\n${authority}`);
  expect(await isTrusted(current())).toBe(true);
  await replaceStore(`-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${authority}`);
  expect(await isTrusted(current())).toBe(true);
  await replaceStore('# none any more\n');
  expect(await isTrusted(current())).toBe(false);
  await rm(store);
  expect(await isTrusted(current())).toBe(false);
});

test('without any store those that Node carries are trusted', () => {
  expect(systemAuthorities([])()).toBeDefined();
});
