/** Nights of mail servers: away, hung, slow, with another certificate or password, or cut off. */
import { ImapFlow } from 'imapflow';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import type { Night, NightScene, Undo } from '../night.ts';
import { type Mailbox, mailHost, type Stand, withoutIdle } from '../stand.ts';

const server = (night: Omit<Night, 'group'>): Night => ({ group: 'servers', ...night });

const onlyPolled = { canaries: ['polled-1', 'polled-2'] } as const;

/** Mail server and its port are away; both come back as they were. */
async function stopServer({ push, polled, pushLink, polledLink }: Stand, kind: Mailbox['kind']): Promise<Undo> {
  const [dovecot, link] = kind === 'push' ? [push, pushLink] : [polled, polledLink];
  await Promise.all([link.down(), dovecot.stop()]);
  return async () => {
    await dovecot.restart();
    await link.up();
  };
}

/** Connections are accepted by the kernel, and nothing answers. */
function hang(dovecot: Dovecot): Undo {
  dovecot.signal('SIGSTOP');
  return async () => dovecot.signal('SIGCONT');
}

/** One polls with the former password until an operator sets the new one. */
async function changePassword({ stand }: NightScene, name: 'own-push' | 'own-polled'): Promise<Undo> {
  const dovecot = name === 'own-push' ? stand.push : stand.polled;
  const user = `${name}@example.test`;
  const password = `changed-${Date.now()}`;
  await dovecot.setPassword(user, password);
  // As a provider does: who was signed in has to sign in again.
  await dovecot.kick(user).catch(() => undefined);
  return () => stand.command(`mailbox set-password ${name} --password-stdin --accept-connection`, password);
}

/** Another client holds the one connection that the server allows to a user. */
async function takeConnection({ polled, mailboxes }: Stand): Promise<Undo> {
  const user = mailboxes.find(({ name }) => name === 'polled-1')?.user ?? '';
  await polled.restart({ settings: `${withoutIdle}\nmail_max_userip_connections = 1` });
  const client = await connectAtLast({ port: polled.port, user });
  return async () => {
    client.close();
    await polled.restart({ settings: withoutIdle });
  };
}

/** The daemon may have the connection at the moment. */
async function connectAtLast({ port, user }: { readonly port: number; readonly user: string }): Promise<ImapFlow> {
  for (let tries = 1; ; tries += 1) {
    const auth = { user, pass: 'pw' };
    const client = new ImapFlow({ host: '127.0.0.1', port, secure: false, doSTARTTLS: false, auth, logger: false });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return client;
    } catch (error) {
      if (tries === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function forgetName({ machine, pushLink }: Stand): Promise<Undo> {
  await machine.get(`sed -i '/ ${mailHost}$/d' /etc/hosts`);
  // Sessions that are open need no name.
  pushLink.proxy().kill('reset');
  return () => machine.get(`printf '127.0.0.1 ${mailHost}\\n' >>/etc/hosts`);
}

/** Every session ends after seconds; for an hour the daemon uses no IDLE then, until an operator says so. */
async function endSessions({ command, pushLink }: Stand): Promise<Undo> {
  const ending = setInterval(() => pushLink.proxy().kill('reset'), 5_000);
  return async () => {
    clearInterval(ending);
    await command(`mailbox retry --host ${mailHost}`);
  };
}

async function removeFolder({ stand: { push, mailboxes }, canaries }: NightScene): Promise<Undo> {
  const { user = '', folder = '' } = mailboxes.find(({ name }) => name === 'folder') ?? {};
  const suspended = canaries.suspend('folder');
  await push.deleteFolder(user, folder);
  return async () => {
    await push.createFolder(user, folder);
    suspended[Symbol.dispose]();
  };
}

export const serverNights: readonly Night[] = [
  server({
    ...{ name: 'one of two mail servers stopped', faultS: 40, shows: /^mailbox polled-\d failing/ },
    neverShows: /^mailbox push|503/,
    make: ({ stand }) => stopServer(stand, 'polled'),
  }),
  server({
    ...{ name: 'mail server killed, 46 mailboxes', faultS: 40, shows: /^mailbox push-\d+ failing/ },
    canaries: ['push-1', 'push-9', 'push-17', 'push-25', 'push-33', 'push-41', 'polled-1'],
    make: ({ stand }) => stopServer(stand, 'push'),
  }),
  server({
    ...{ name: 'mail server hangs, push', faultS: 45, shows: /^mailbox push-\d+ failing/ },
    make: async ({ stand }) => hang(stand.push),
  }),
  server({
    ...{ name: 'mail server hangs, polled only', faultS: 45, shows: /^mailbox polled-\d failing/, ...onlyPolled },
    make: async ({ stand }) => hang(stand.polled),
  }),
  server({
    ...{ name: 'mail server slow, 2 s an answer', faultS: 45, shows: null, ageS: 40 },
    make: async ({ stand }) => {
      stand.pushLink.proxy().fault = { kind: 'latency', delayMs: 1_000 };
      return async () => {
        stand.pushLink.proxy().fault = { kind: 'none' };
      };
    },
  }),
  server({
    ...{ name: 'network cut, packets dropped', faultS: 45, shows: /^mailbox push-\d+ failing/ },
    make: async ({ stand }) => {
      stand.pushLink.proxy().fault = { kind: 'hold' };
      return async () => {
        stand.pushLink.proxy().fault = { kind: 'none' };
      };
    },
  }),
  server({
    ...{ name: 'DNS name gone', faultS: 30, shows: /^mailbox push-\d+ failing/ },
    make: ({ stand }) => forgetName(stand),
  }),
  server({
    ...{ name: 'certificate expired', faultS: 30, shows: /^mailbox polled-\d failing: tls_expired/, ...onlyPolled },
    make: async ({ stand: { polled } }) => {
      await polled.restart({ certificate: 'expired' });
      return () => polled.restart({ certificate: 'good' });
    },
  }),
  server({
    ...{ name: 'certificate renewed under a pin', faultS: 30, shows: /^mailbox pinned failing: tls_/ },
    canaries: ['pinned'],
    make: async ({ stand: { polled } }) => {
      await polled.restart({ certificate: 'other_name' });
      return () => polled.restart({ certificate: 'good' });
    },
  }),
  server({
    ...{ name: 'password changed, push', faultS: 35, shows: /^mailbox own-push failing: login_/ },
    canaries: ['own-push'],
    make: (scene) => changePassword(scene, 'own-push'),
  }),
  server({
    ...{ name: 'password changed, polled only', faultS: 35, shows: /^mailbox own-polled failing: login_/ },
    canaries: ['own-polled'],
    make: (scene) => changePassword(scene, 'own-polled'),
  }),
  server({
    ...{ name: 'folder of a mailbox removed', faultS: 75, shows: /^mailbox folder failing/ },
    canaries: ['push-1', 'folder'],
    make: removeFolder,
  }),
  server({
    ...{ name: 'connections refused at a limit', faultS: 35, shows: /^mailbox polled-1 failing/ },
    canaries: ['polled-1'],
    make: ({ stand }) => takeConnection(stand),
  }),
  server({
    ...{ name: 'IDLE ends after 5 s, three times', faultS: 25, shows: /^check push/, ageS: 75 },
    make: ({ stand }) => endSessions(stand),
  }),
];
