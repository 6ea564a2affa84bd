/**
 * Taking one mail out of quarantine from the admin page: what `quarantine requeue`, `release` and `discard` do for one mail, with
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
import type { AuditActor } from '../../ingest/model.ts';
import {
  createResolveTally,
  discardOne,
  isResolved,
  quarantineActions,
  type ResolveResult,
  resolveOne,
  resultHint,
  resultName,
  resultSentence,
} from '../../ingest/quarantine/actions.ts';
import { quarantinedById, quarantineId } from '../../ingest/quarantine/read.ts';
import type { Resolver } from '../../ingest/quarantine/resolve.ts';
import type { QuarantinedMessage, QuarantineStore } from '../../ingest/stores.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { pageActor } from '../ports.ts';
import type { AdminService, QuarantineActionResult } from '../service.ts';

export type QuarantineActionPorts = {
  readonly store: QuarantineStore & Pick<EncryptionStore, 'audit'>;
  /** Under the settings of then. It is called for several mails at once, and holds no connection afterwards. */
  readonly resolve: Resolver['resolve'];
  readonly clock: Clock;
  readonly actor: AuditActor;
  readonly log: Pick<Log, 'info'>;
};

type QuarantineAction = {
  readonly mail: QuarantinedMessage;
  readonly way: keyof typeof quarantineActions;
  readonly by: string;
};

/** So long a page waits for it. */
const waitMsMax = 20_000;
/** A mail is taken in whole, in the memory of the daemon: of all that are under way, no more bytes than that. */
const bytesUnderWayMax = 256 * 1024 * 1024;
const clicksUnderWayMax = 20;

const unknown = 'This mail does not wait in quarantine: somebody else has resolved it, or there never was one.';

/** `changed` is called when one is over. Disposing waits for those that are under way. */
export function createQuarantineActions(
  ports: QuarantineActionPorts,
  changed: () => void,
): AsyncDisposable & Pick<AdminService, 'resolveQuarantined'> {
  const lasts = new Map<string, Promise<unknown>>();
  const underWay = new Map<Promise<unknown>, number>();

  /** After those of the same mail that came before it. */
  const queued = (click: QuarantineAction): Promise<QuarantineActionResult> => {
    const id = quarantineId(click.mail);
    const before = lasts.get(id) ?? Promise.resolve();
    const mine = before.then(
      () => runAction(click, ports),
      () => runAction(click, ports),
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

  const begin = async (id: string, way: QuarantineAction['way'], by: string): Promise<QuarantineActionResult> => {
    const mail = await readQuarantined(ports.store, id);
    if (mail === null) return { isDone: false, sentence: unknown };
    const refusal = way === 'discard' ? null : refusalForSize(mail, [...underWay.values()]);
    return refusal ?? (await queued({ mail, way, by }));
  };

  return {
    async resolveQuarantined(id, way, by) {
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
async function readQuarantined(store: QuarantineStore, id: string): Promise<QuarantinedMessage | null> {
  try {
    const mail = await quarantinedById(store, id);
    return mail.discardedAtMs === null ? mail : null;
  } catch (error) {
    if (isFailure(error, 'usage', 'not_found')) return null;
    throw error;
  }
}

function refusalForSize(mail: QuarantinedMessage, sizes: readonly number[]): QuarantineActionResult | null {
  const id = quarantineId(mail);
  if (mail.sizeBytes > bytesUnderWayMax) {
    const line = commandOrNotice(shellCommand('quarantine release', id));
    const sentence = `${id} is too large to be taken in by the daemon. On the server, a command does it: ${line}`;
    return { isDone: false, sentence };
  }
  const bytes = sizes.reduce((sum, size) => sum + size, mail.sizeBytes);
  if (bytes <= bytesUnderWayMax && sizes.length < clicksUnderWayMax) return null;
  return { isDone: false, sentence: `${id} still waits: others are being taken in. Try again in a minute.` };
}

async function runAction(
  { mail, way, by }: QuarantineAction,
  ports: QuarantineActionPorts,
): Promise<QuarantineActionResult> {
  const { store, actor, log } = ports;
  const [still] = await store.quarantinedByUid(mail.mailboxId, mail.folderEpoch, mail.uid);
  const result: ResolveResult = still === undefined ? { what: 'resolved' } : await settled(still, way, ports);
  const tally = createResolveTally();
  tally.add(mail, resultName(result));
  const ticket = result.what === 'stored' ? result.ref : null;
  log.info(
    { quarantine_id: quarantineId(mail), action: way, result: resultName(result), ticket, by },
    events.quarantineResolved,
  );
  await tally.write(store, { who: pageActor(by), host: actor.host }, quarantineActions[way]);
  const hint = resultHint(result);
  const sentence = `${quarantineId(mail)}: ${resultSentence(result)}.`;
  return { isDone: isResolved(result), sentence: hint === null ? sentence : `${sentence} ${hint}` };
}

async function settled(
  mail: QuarantinedMessage,
  way: QuarantineAction['way'],
  ports: QuarantineActionPorts,
): Promise<ResolveResult> {
  if (way === 'discard') return await discardOne(ports.store, mail);
  return await resolveOne(ports, mail, way);
}
