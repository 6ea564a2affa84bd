/**
 * Delay of the mail server itself until it announces a message to a client in IDLE, by the way in which the
 * message arrives and is stored.
 *
 * This is time that no client can win back: Dovecot waits for 500 ms after it has seen a change (NOTIFY_DELAY_MSECS
 * in its mailbox-watch.c), so that many changes become one announcement. A hibernated connection
 * (imap_hibernate_timeout) is the exception: its process waits for the first change alone, and goes back to work at
 * once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../support/random.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { password } from '../../support/servers/dovecot-settings.ts';
import { type Quantiles, quantilesOf } from '../measure/quantiles.ts';
import { type BareImap, openBareImap } from './bare-imap.ts';

export type WayFigures = { readonly way: string; readonly ms: Quantiles };

type Way = {
  readonly way: string;
  readonly settings: string;
  readonly deliver: 'moved' | 'appended';
  /**
   * The least time between an announcement and the next message: what comes just before a hibernation is never
   * announced.
   */
  readonly restMs?: number;
};

/**
 * Connections that have been idle for a second are hibernated. The main process's socket belongs to Dovecot's internal
 * user.
 */
export const hibernation = `
imap_hibernate_timeout = 1 secs
service imap {
  unix_listener imap-master {
    user = $default_internal_user
  }
}
service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0666
  }
}`;

const ways: readonly Way[] = [
  { way: 'maildir, a file moved into it', settings: '', deliver: 'moved' },
  { way: 'maildir, IMAP APPEND', settings: '', deliver: 'appended' },
  { way: 'sdbox, IMAP APPEND', settings: 'mail_location = sdbox:~/sdbox', deliver: 'appended' },
  { way: 'mdbox, IMAP APPEND', settings: 'mail_location = mdbox:~/mdbox', deliver: 'appended' },
  {
    way: 'mdbox, IMAP APPEND, mailbox_idle_check_interval = 1',
    settings: 'mail_location = mdbox:~/mdbox\nmailbox_idle_check_interval = 1 secs',
    deliver: 'appended',
  },
  { way: 'maildir, hibernated, a file moved into it', settings: hibernation, deliver: 'moved', restMs: 1800 },
];

const mail = Buffer.from('From: ada@example.test\r\nSubject: A question\r\n\r\nHello.\r\n');
/** Between an announcement and the next message, so that the server is at rest. */
const pauseMsMax = 700;

/** So many messages by each way. */
export async function announceRun(count: number, progress: (line: string) => void): Promise<readonly WayFigures[]> {
  const figures: WayFigures[] = [];
  for (const way of ways) {
    progress(way.way);
    await using dovecot = await startDovecot({ settings: way.settings });
    figures.push({ way: way.way, ms: quantilesOf(await delays(dovecot, way, count)) });
  }
  return figures;
}

async function delays(dovecot: Dovecot, { deliver, restMs = 0 }: Way, count: number): Promise<readonly number[]> {
  const user = dovecot.newUser();
  const random = seededRandom(1);
  using writer = await openBareImap(dovecot.port, { user, password });
  using reader = await openBareImap(dovecot.port, { user, password });
  await reader.idle();
  const seen: number[] = [];
  for (let number = 1; number <= count; number += 1) {
    await sleep(restMs + pauseMsMax * random.fraction());
    const announced = reader.announced(number).then(() => performance.now());
    await put(dovecot, user, deliver === 'moved' ? null : writer);
    const deliveredAtMs = performance.now();
    seen.push(Math.max(0, (await announced) - deliveredAtMs));
  }
  return seen;
}

async function put(dovecot: Dovecot, user: string, writer: BareImap | null): Promise<void> {
  if (writer === null) await dovecot.append(user, 'INBOX', [mail]);
  else await writer.append(mail);
}
