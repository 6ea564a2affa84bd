/**
 * Names and certificates of mail servers: a name that does not resolve for a while, and a certificate that is about to
 * end, has ended, and was renewed.
 */
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createSecureContext, createServer } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Readiness } from '../../../src/ingest/readiness.ts';
import { prepareWorker } from '../../faults/worker.ts';
import { startFaultProxy } from '../../support/faults/proxy.ts';
import { checkOf, mail, metrics, opened, openInstance, readiness } from '../../support/instance.ts';
import { until } from '../../support/promises.ts';
import { readCertificates } from '../../support/servers/authority.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { freePort, runProgram } from '../../support/servers/programs.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const isRoot = process.getuid?.() === 0;
const stack = new AsyncDisposableStack();
let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = stack.use(await startDovecot());
});

afterAll(() => stack.disposeAsync());

test.skipIf(!isRoot).concurrent(
  'a name that does not resolve is reported, and its mailbox is back when it does (needs root for an /etc/hosts of its own)',
  async () => {
    await using named = await startDovecot({ certificate: 'other_name' });
    const mailHost = 'mail.example.test';
    await using link = await startFaultProxy({ host: '127.0.0.1', port: named.tlsPort });
    await using instance = await openInstance();
    const user = named.newUser();
    const connection = {
      host: mailHost,
      port: link.port,
      tls: 'implicit',
      caPem: named.caPem,
      fingerprint: null,
    } as const;
    const box = await instance.add(named, user, {
      connection: { ...connection, user, folder: 'INBOX', allowPlaintext: false },
    });
    const httpPort = await freePort();
    const worker = await prepareWorker({
      ...{
        index: 0,
        folder: join(instance.folder, 'worker'),
        dataDir: instance.dataDir,
        httpPort,
        mailHost,
        isRoot,
        faketime: null,
      },
      ...{
        mailLink: link,
        databaseLink: link,
        env: { ...instance.env, TICKETMAILD_HTTP_LISTEN: `127.0.0.1:${httpPort}` },
      },
    });
    await using _ended = { [Symbol.asyncDispose]: () => worker.kill() };
    const ask = async (): Promise<Readiness | null> => {
      const answer = await fetch(`http://127.0.0.1:${httpPort}/readyz`).catch(() => null);
      return answer === null ? null : ((await answer.json()) as Readiness);
    };
    const check = async () => (await ask())?.checks.mailboxes.list.find(({ mailbox }) => mailbox === box.name);
    worker.start();
    await until('it is polled', async () => (await check())?.last_success ?? null);
    await worker.setName(false);
    const failing = await until('the name is reported', async () => {
      const found = await check();
      return found?.status === 'failing' ? found : null;
    });
    expect(failing.reason).toMatch(/^name_not_found: The (host name does not resolve|name server does not answer)\.$/);
    expect(failing.hint).toMatch(/DNS/);
    await until('the server is reported', async () =>
      (await ask())?.checks.servers.list.some(({ host }) => host === mailHost),
    );
    expect((await ask())?.ready).toBe(false);
    await named.append(user, 'INBOX', [mail('meanwhile')]);
    await worker.setName(true);
    await until('it is back', async () => (await ask())?.ready, 30_000);
    expect((await ask())?.checks.servers).toMatchObject({ status: 'ok', list: [] });
    await until('the mail', () => worker.printed.lines.some(({ text }) => text.includes('message.ticket_opened')));
  },
  90_000,
);

/** TLS in front of the server's plain port, with a certificate that can be exchanged, as a renewal does. */
async function tlsFront(port: number) {
  const folder = await temporaryFolder('front');
  const template = await certificatesTemplate();
  const [good, expired] = [await readCertificates(template), await readCertificates(template, 'expired')];
  const soon = join(folder.path, 'soon.pem');
  const by = ['-CA', good.caFile, '-CAkey', join(template, 'ca.key'), '-set_serial', '77'];
  const of = ['-in', join(template, 'good.csr'), '-extfile', join(template, 'good.ext')];
  await runProgram('openssl', ['x509', '-req', ...of, ...by, '-days', '5', '-out', soon]);
  const pair = async (certificate: string, key: string) => ({
    cert: await readFile(certificate),
    key: await readFile(key),
  });
  const pairs = {
    good: await pair(good.certificateFile, good.keyFile),
    expired: await pair(expired.certificateFile, expired.keyFile),
    soon: await pair(soon, good.keyFile),
  };
  let shown = createSecureContext(pairs.soon);
  const server = createServer({ ...pairs.soon, SNICallback: (_name, done) => done(null, shown) }, (client) => {
    const behind = connect(port, '127.0.0.1');
    client.on('error', () => behind.destroy());
    behind.on('error', () => client.destroy());
    client.pipe(behind).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    show: (kind: keyof typeof pairs) => {
      shown = createSecureContext(pairs[kind]);
    },
    [Symbol.asyncDispose]: async () => {
      server.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

test.concurrent('the days left of a certificate are reported, then its end, then its renewal', async () => {
  await using front = await tlsFront(dovecot.port);
  await using instance = await openInstance();
  const user = dovecot.newUser();
  const box = await instance.add({ ...dovecot, tlsPort: front.port }, user);
  const daemon = instance.start();
  const certificates = async () => (await readiness(daemon)).body.checks.certificates;
  const soon = await until('the end is near', async () => {
    const check = await certificates();
    return check.status === 'warning' ? check : null;
  });
  expect(soon.reason).toBe(`the certificate of localhost:${front.port} expires in 4 days`);
  expect(soon.list).toMatchObject([{ host: 'localhost', port: front.port, days_left: 4 }]);
  expect((await readiness(daemon)).status).toBe(200);
  const end = new RegExp(
    `^ticketmaild_certificate_not_after_timestamp_seconds\\{host="localhost",port="${front.port}"\\} (\\S+)$`,
    'm',
  );
  const [, endS] = end.exec(await metrics(daemon)) ?? [];
  expect(Number(endS) - Date.parse(soon.list[0]?.not_after ?? '') / 1000).toBe(0);
  front.show('expired');
  await dovecot.append(user, 'INBOX', [mail('meanwhile')]);
  const ended = await until('it has ended', async () => {
    const check = await checkOf(daemon, box.name);
    return check?.status === 'failing' ? check : null;
  });
  expect(ended.reason).toBe('tls_expired: The certificate of the server has expired.');
  expect(ended.hint).toMatch(/Renew it on the mail server/);
  expect(opened(daemon)).toBe(0);
  front.show('good');
  await until('the mail', () => opened(daemon) === 1);
  await until(
    'all is well',
    async () => (await certificates()).status === 'ok' && (await readiness(daemon)).status === 200,
  );
  expect((await checkOf(daemon, box.name))?.status).toBe('ok');
});
