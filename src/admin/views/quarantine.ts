/**
 * Taking one mail out of quarantine from the admin page: what `quarantine retry`, `release` and `discard` do for one mail, with
 * the same row in the audit.
 *
 * It runs on by itself when nobody waits for it any more. Each mail is settled by one at a time; who comes second hears what
 * became of it. Throws what the database and the disk throw.
 */

import type { Clock } from '../../async/clock.ts';
import { within } from '../../async/deadline.ts';
import type { EncryptionStore } from '../../encryption/ports.ts';
import { isFailure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import type { Author } from '../../ingest/model.ts';
import {
  createSettleTally,
  discardOne,
  isOver,
  resultHint,
  resultName,
  resultSentence,
  type SettleResult,
  settleActions,
  settleOne,
} from '../../ingest/quarantine/actions.ts';
import { heldById, heldId } from '../../ingest/quarantine/read.ts';
import type { Resolver } from '../../ingest/quarantine/resolve.ts';
import type { HeldMail, QuarantineStore } from '../../ingest/stores.ts';
import { commandOn, toldCommand } from '../../text/shell.ts';
import { whoOnPage } from '../ports.ts';
import type { AdminDesk, Settlement } from '../service.ts';

export type SettleDeskPorts = {
  readonly store: QuarantineStore & Pick<EncryptionStore, 'audit'>;
  /** Under the settings of then. It is called for several mails at once, and holds no connection afterwards. */
  readonly settle: Resolver['settle'];
  readonly clock: Clock;
  readonly author: Author;
  readonly log: Pick<Log, 'info'>;
};

type Click = { readonly mail: HeldMail; readonly way: keyof typeof settleActions; readonly by: string };

/** So long a page waits for it. */
const waitMsMax = 20_000;
/** A mail is taken in whole, in the memory of the daemon: of all that are under way, no more bytes than that. */
const bytesUnderWayMax = 256 * 1024 * 1024;
const clicksUnderWayMax = 20;

const unknown = 'This mail does not wait in quarantine: somebody else has resolved it, or there never was one.';

/** `changed` is called when one is over. Disposing waits for those that are under way. */
export function createSettleDesk(
  ports: SettleDeskPorts,
  changed: () => void,
): AsyncDisposable & Pick<AdminDesk, 'settle'> {
  const lasts = new Map<string, Promise<unknown>>();
  const underWay = new Map<Promise<unknown>, number>();

  /** After those of the same mail that came before it. */
  const queued = (click: Click): Promise<Settlement> => {
    const id = heldId(click.mail);
    const before = lasts.get(id) ?? Promise.resolve();
    const mine = before.then(
      () => settleClick(click, ports),
      () => settleClick(click, ports),
    );
    lasts.set(id, mine);
    underWay.set(mine, click.mail.sizeBytes);
    const ended = (): void => {
      underWay.delete(mine);
      if (lasts.get(id) === mine) lasts.delete(id);
      changed();
    };
    mine.then(ended, ended);
    return mine;
  };

  const begin = async (id: string, way: Click['way'], by: string): Promise<Settlement> => {
    const mail = await waitingMail(ports.store, id);
    if (mail === null) return { isDone: false, sentence: unknown };
    const refusal = way === 'discard' ? null : tooMuch(mail, [...underWay.values()]);
    return refusal ?? (await queued({ mail, way, by }));
  };

  return {
    async settle(id, way, by) {
      const done = await within(begin(id, way, by), waitMsMax, ports.clock);
      if (done !== null) return done.value;
      return {
        isDone: false,
        sentence: `There is no answer after ${waitMsMax / 1000} s. It goes on by itself: look at this page again in a while.`,
      };
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(underWay.keys());
    },
  };
}

/** The page lists what waits: a mail that was discarded meanwhile is somebody else's doing, and stays discarded. */
async function waitingMail(store: QuarantineStore, id: string): Promise<HeldMail | null> {
  try {
    const mail = await heldById(store, id);
    return mail.discardedAtMs === null ? mail : null;
  } catch (error) {
    if (isFailure(error, 'usage', 'not_found')) return null;
    throw error;
  }
}

function tooMuch(mail: HeldMail, sizes: readonly number[]): Settlement | null {
  const id = heldId(mail);
  if (mail.sizeBytes > bytesUnderWayMax) {
    const line = toldCommand(commandOn('quarantine release', id));
    const sentence = `${id} is too large to be taken in by the daemon. On the server, a command does it: ${line}`;
    return { isDone: false, sentence };
  }
  const bytes = sizes.reduce((sum, size) => sum + size, mail.sizeBytes);
  if (bytes <= bytesUnderWayMax && sizes.length < clicksUnderWayMax) return null;
  return { isDone: false, sentence: `${id} still waits: others are being taken in. Try again in a minute.` };
}

async function settleClick({ mail, way, by }: Click, ports: SettleDeskPorts): Promise<Settlement> {
  const { store, author, log } = ports;
  const [still] = await store.heldMail(mail.mailboxId, mail.numbering, mail.uid);
  const result: SettleResult = still === undefined ? { what: 'resolved' } : await settled(still, way, ports);
  const tally = createSettleTally();
  tally.add(mail, resultName(result));
  const ticket = result.what === 'taken_in' ? result.ref : null;
  log.info({ mail: heldId(mail), way, result: resultName(result), ticket, by }, events.quarantineSettled);
  await tally.write(store, { who: whoOnPage(by), host: author.host }, settleActions[way]);
  const hint = resultHint(result);
  const sentence = `${heldId(mail)}: ${resultSentence(result)}.`;
  return { isDone: isOver(result), sentence: hint === null ? sentence : `${sentence} ${hint}` };
}

async function settled(mail: HeldMail, way: Click['way'], ports: SettleDeskPorts): Promise<SettleResult> {
  if (way === 'discard') return await discardOne(ports.store, mail);
  return await settleOne(ports, mail, way);
}
