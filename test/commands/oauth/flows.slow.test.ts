/**
 * From `mailbox add --oauth` to a ticket: each way to a grant without a consent at the terminal, by XOAUTH2 and
 * OAUTHBEARER, on SQLite and MariaDB. The ways in which a person signs in at the terminal have tests of their own.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mail } from '../../support/instance.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { consentFirst, type OAuthScene, type SignInMechanism, startScene } from './scene.ts';

const ways = [
  { provider: 'appsecret', user: 'support@example.test', more: [] },
  { provider: 'appkey', user: 'sales@example.test', more: [] },
  { provider: 'service', user: 'billing@example.test', more: [] },
  { provider: 'people', user: 'anna@example.test', more: ['--grant', 'anna'] },
] as const;

const readableToken = /^warning: encryption is off, so the refresh token of grant anna is readable [^\n]+\n$/;

async function showTickets(scene: OAuthScene, mechanism: SignInMechanism, env: Record<string, string>): Promise<void> {
  const { dovecot, server } = scene;
  await using cli = await scene.open(env);
  const database = `${mechanism}-${env['TICKETMAILD_DATABASE_URL'] === undefined ? 'sqlite' : 'mariadb'}`;
  await consentFirst(scene, cli, 'anna@example.test');
  for (const { provider, user, more } of ways) {
    const id = `${provider}-${database}`;
    const options = ['--name', provider, ...server, '--user', user, '--oauth', provider, ...more, '--since', 'all'];
    // An application has no stored token; the refresh token of a person is readable.
    const err = provider === 'people' ? expect.stringMatching(readableToken) : '';
    expect(await cli.run(['mailbox', 'add', ...options])).toMatchObject({ code: 0, err });
    await dovecot.append(user, 'INBOX', [mail(id)]);
    expect(await cli.run(['poll', provider])).toMatchObject({ code: 0 });
    const { json } = await cli.run(['mailbox', 'test', provider, '--json']);
    expect(json[0]).toMatchObject({ mailbox: provider, ok: true, mechanism });
    const tickets = await cli.run(['ticket', 'list', '--json']);
    expect(tickets.json.filter(({ subject }) => subject === id)).toHaveLength(1);
  }
  cli.expectNothingLeaked(
    (await scene.provider.report()).tokens.flatMap(({ access, refresh }) => [
      access,
      ...(refresh === null ? [] : [refresh]),
    ]),
  );
}

describe.each(['XOAUTH2', 'OAUTHBEARER'] as const)('by %s', (mechanism) => {
  let scene: OAuthScene;

  beforeAll(async () => {
    scene = await startScene({ mechanism });
  });

  afterAll(() => scene[Symbol.asyncDispose]());

  const tags = mechanism === 'XOAUTH2' ? [] : ['long'];

  test('mail becomes a ticket, on SQLite', { timeout: 60_000, tags }, () => showTickets(scene, mechanism, {}));

  describe('on MariaDB', () => {
    let mariadb: Mariadb;

    beforeAll(async () => {
      mariadb = await startMariadb();
    });

    afterAll(() => mariadb[Symbol.asyncDispose]());

    test('mail becomes a ticket', { timeout: 60_000, tags: ['long'] }, async () => {
      const { url } = await mariadb.createDatabase();
      await showTickets(scene, mechanism, { TICKETMAILD_DATABASE_URL: url });
    });
  });
});
