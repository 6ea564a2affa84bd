/** Signs of changes of rows: in the checks of `/readyz`, in the log of any worker, or in what a command answers. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kind, Sign } from '../kinds.ts';
import type { Ground, Reserved } from './change.ts';

type Sight = Kind['visible'];

/** A mailbox, or any, is not ok, for a reason like this. */
export function mailboxIsBad(name: string | null, reason: RegExp): Sight {
  return ({ now }) => {
    const list = now.checks.mailboxes?.list;
    if (list === undefined) return null;
    const check = list.find(
      (one) => (name === null || one.mailbox === name) && one.status !== 'ok' && reason.test(one.reason ?? ''),
    );
    return check !== undefined && `mailbox ${check.status}, ${/^\w+/.exec(check.reason ?? '')?.[0]}`;
  };
}

/** Nothing is wrong: the mailbox was read after the change. */
export function isReadSince(name: string, sinceMs = Date.now()): Sight {
  return ({ now }) => {
    const check = now.checks.mailboxes?.list.find(({ mailbox }) => mailbox === name);
    if (now.checks.mailboxes?.list === undefined) return null;
    return check?.status === 'ok' && Date.parse(check.last_success ?? '') > sinceMs && 'read as before';
  };
}

export function isUnlisted(name: string): Sight {
  return ({ now }) => {
    const list = now.checks.mailboxes?.list;
    // Without an answer of the database the list is empty.
    if (list === undefined || list.length === 0) return null;
    return list.every(({ mailbox }) => mailbox !== name) && 'mailbox not listed';
  };
}

export function isLogged({ scene }: Ground, event: string, mailbox: string | null, sinceMs = Date.now()): Sight {
  return () => {
    const isIt = (text: string): boolean =>
      text.includes(`"${event}"`) && (mailbox === null || text.includes(`"mailbox":"${mailbox}"`));
    const isPrinted = scene.workers.some(({ printed }) =>
      printed.lines.some(({ atMs, text }) => atMs >= sinceMs && isIt(text)),
    );
    return isPrinted && event;
  };
}

/** A command fails and says so; asked until it does. `stop` ends the asking. */
export function commandSays(ground: Ground, args: readonly string[], says: RegExp): { visible: Sight; stop(): void } {
  let sign: Sign = false;
  const stopped = new AbortController();
  void (async () => {
    while (sign === false && !stopped.signal.aborted) {
      const { code, output } = await ground.command(args);
      if (code !== 0 && says.test(output)) sign = args.slice(0, 1).join(' ');
      await sleep(500);
    }
  })();
  return { visible: () => sign, stop: () => stopped.abort() };
}

/** A connection in IDLE ends, and the mailbox is due: its next session begins soon. */
export async function touch({ sql }: Ground, { id }: Reserved): Promise<void> {
  await sql(`UPDATE mailboxes SET changed_at = UTC_TIMESTAMP(6) WHERE id = '${id}'`);
  await sql(`UPDATE mailbox_state SET next_poll_at = UTC_TIMESTAMP(3) WHERE mailbox_id = '${id}'`);
}
