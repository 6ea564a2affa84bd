/** Nights of mail servers: away, hung, slow, with another certificate or password, or cut off. */
import type { Dovecot } from '../../support/servers/dovecot.ts';
import type { Night, Undo } from '../night.ts';
import type { Mailbox, Stand } from '../stand.ts';

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

export const serverNights: readonly Night[] = [
  server({
    ...{ name: 'mail server stopped', faultS: 45, shows: /^mailbox polled-\d failing/, ...onlyPolled },
    make: ({ stand }) => stopServer(stand, 'polled'),
  }),
  server({
    ...{ name: 'mail server killed, 46 mailboxes', faultS: 40, shows: /^mailbox push-\d+ failing/ },
    make: ({ stand }) => stopServer(stand, 'push'),
    canaries: ['push-1', 'push-9', 'push-17', 'push-25', 'push-33', 'push-41', 'polled-1'],
  }),
  server({
    ...{ name: 'mail server hangs, push', faultS: 45, shows: /^mailbox push-\d+ failing/ },
    make: async ({ stand }) => hang(stand.push),
  }),
  server({
    ...{ name: 'mail server hangs, polled only', faultS: 45, shows: /^mailbox polled-\d failing/, ...onlyPolled },
    make: async ({ stand }) => hang(stand.polled),
  }),
];
