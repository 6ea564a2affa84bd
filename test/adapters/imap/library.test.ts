/**
 * Internals of imapflow that the adapter relies on. When a new version breaks one, review `imapflow-internals.ts` and
 * its users.
 */
import { createRequire } from 'node:module';
import { ImapFlow } from 'imapflow';
import { expect, test } from 'vitest';
import {
  type ContinuationRequest,
  continuationText,
  internals,
} from '../../../src/adapters/imap/imapflow-internals.ts';
import { ImapClient } from '../../../src/adapters/imap/login.ts';
import { newTransport, type SocketTransport } from '../../../src/adapters/imap/transport.ts';
import { startScriptedServer } from './scripted-server.ts';
import { credential, plainTo } from './setting.ts';

const relied = ['authenticate', 'exec', 'setAuthenticationState', 'stats', 'close', 'logout'];

test('imapflow is the version that the login was written for', () => {
  const { dependencies } = createRequire(import.meta.url)('../../../package.json') as {
    dependencies: Record<string, string>;
  };
  expect(ImapFlow.version).toBe('2.10.2');
  expect(dependencies.imapflow).toBe(ImapFlow.version);
});

/** A client that is not connected yet. */
function newClient(port: number, beforeLogin: () => void): { client: ImapClient; transport: SocketTransport } {
  const connection = plainTo(port);
  const transport = newTransport(
    connection,
    () => undefined,
    () => undefined,
  );
  const options = {
    host: connection.host,
    port: connection.port,
    secure: false,
    doSTARTTLS: false,
    logger: false,
    transport,
  } as const;
  return { client: new ImapClient(options, 'ada', credential(), { beforeLogin, echoed: () => undefined }), transport };
}

test('imapflow still has the inner methods, and connects through our authenticate with bytes', async () => {
  for (const name of relied) expect(typeof Reflect.get(ImapFlow.prototype, name)).toBe('function');
  await using server = await startScriptedServer();
  let logins = 0;
  const { client, transport } = newClient(server.port, () => {
    logins += 1;
  });
  await client.connect();
  expect(logins).toBe(1);
  expect(client.authenticated).toBe(true);
  expect(client.state).toBe(client.states.AUTHENTICATED);
  expect(Reflect.get(client, 'writeSocket')).toBe(transport.socket());
  // The handlers are set by `connect`; ours of RECENT stays, because there is none in the library.
  expect(Object.keys(internals(client).untaggedHandlers)).toEqual(expect.arrayContaining(['EXISTS', 'EXPUNGE']));
  expect(internals(client).untaggedHandlers.RECENT).toBeUndefined();
  expect(server.lines).toContain(Buffer.from('\0ada\0pw').toString('base64'));
  client.close();
});

test('the text of each continuation request arrives, whatever the server writes', async () => {
  const challenges = ['VXNlcm5hbWU6', 'eyJzdGF0dXMiOiI0MDAifQ==', '', 'go ahead', '[ALERT] no'];
  await using server = await startScriptedServer({
    script: (command, _rest, tag, { say }) => {
      if (command !== 'IDLE') return false;
      say(...challenges.map((text) => `+ ${text}`), '+', `${tag} OK`);
      return true;
    },
  });
  const { client } = newClient(server.port, () => undefined);
  await client.connect();
  const texts: string[] = [];
  const onPlusTag = async (request: ContinuationRequest): Promise<void> => void texts.push(continuationText(request));
  const tagged = await internals(client).exec('IDLE', [], { onPlusTag });
  tagged.next();
  expect(texts).toEqual([...challenges, '']);
  client.close();
});
