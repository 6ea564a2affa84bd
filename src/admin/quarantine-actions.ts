/**
 * Quarantine actions of the page: the same as `quarantine requeue`, `release` and `discard` for one message, with the
 * same audit row.
 *
 * An action continues in the background when the page stops waiting. Actions on one message run one after the other;
 * the later one returns the result of the earlier. Throws the failures of database and disk.
 */
import type { Clock } from '../async/clock.ts';
import { within } from '../async/deadline.ts';
import type { EncryptionStore } from '../encryption/ports.ts';
import { isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import type { AuditActor } from '../ingest/model.ts';
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
} from '../ingest/quarantine/actions.ts';
import { quarantinedById, quarantineId } from '../ingest/quarantine/read.ts';
import type { Resolver } from '../ingest/quarantine/resolve.ts';
import type { QuarantinedMessage, QuarantineStore } from '../ingest/stores.ts';
import { asRunHere } from '../text/program-name.ts';
import { commandOrNotice, shellCommand } from '../text/shell.ts';
import { pageActor } from './ports.ts';
import type { ActionResult, AdminService } from './service.ts';

export type QuarantineActionPorts = {
  readonly store: QuarantineStore & Pick<EncryptionStore, 'audit'>;
  /** Uses the current settings. Called for several messages at once; leaves no connection open. */
  readonly resolve: Resolver['resolve'];
  readonly clock: Clock;
  readonly actor: AuditActor;
  readonly log: Pick<Log, 'info'>;
};

type QuarantineAction = {
  readonly message: QuarantinedMessage;
  readonly way: keyof typeof quarantineActions;
  readonly by: string;
};

/** How long the page waits for an action. */
const waitMsMax = 20_000;
/** The daemon holds a message in memory while it is stored: limits for all running actions together. */
const runningBytesMax = 256 * 1024 * 1024;
const runningMax = 20;

const notFound = 'This message is not in quarantine: it was resolved meanwhile, or never existed.';

/** `changed` is called after each action. Disposing waits for those that run. */
export function createQuarantineActions(
  ports: QuarantineActionPorts,
  changed: () => void,
): AsyncDisposable & Pick<AdminService, 'resolveQuarantined'> {
  const lastByMessage = new Map<string, Promise<unknown>>();
  const sizes = new Map<Promise<unknown>, number>();

  const enqueue = (action: QuarantineAction): Promise<ActionResult> => {
    const id = quarantineId(action.message);
    const run = () => runAction(action, ports);
    const result = (lastByMessage.get(id) ?? Promise.resolve()).then(run, run);
    lastByMessage.set(id, result);
    sizes.set(result, action.message.sizeBytes);
    const ended = (): void => {
      sizes.delete(result);
      if (lastByMessage.get(id) === result) lastByMessage.delete(id);
      changed();
    };
    result.then(ended, ended);
    return result;
  };

  const start = async (id: string, way: QuarantineAction['way'], by: string): Promise<ActionResult> => {
    const message = await readQuarantined(ports.store, id);
    if (message === null) return { isDone: false, sentence: notFound };
    const refusal = way === 'discard' ? null : refusalForSize(message, [...sizes.values()]);
    return refusal ?? (await enqueue({ message, way, by }));
  };

  return {
    async resolveQuarantined(id, way, by) {
      const done = await within(start(id, way, by), waitMsMax, ports.clock);
      const sentence = `No response after ${waitMsMax / 1000} s. The action continues in the background: reload this page later.`;
      return done?.value ?? { isDone: false, sentence };
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(sizes.keys());
    },
  };
}

/** null for a message that was discarded since the page was shown: it stays discarded. */
async function readQuarantined(store: QuarantineStore, id: string): Promise<QuarantinedMessage | null> {
  try {
    const message = await quarantinedById(store, id);
    return message.discardedAtMs === null ? message : null;
  } catch (error) {
    if (isFailure(error, 'usage', 'not_found')) return null;
    throw error;
  }
}

function refusalForSize(message: QuarantinedMessage, sizes: readonly number[]): ActionResult | null {
  const id = quarantineId(message);
  if (message.sizeBytes > runningBytesMax) {
    const line = commandOrNotice(shellCommand('quarantine release', id));
    return {
      isDone: false,
      sentence: `${id} is too large for the daemon. Run this command on the server: ${asRunHere(line)}`,
    };
  }
  const bytes = sizes.reduce((sum, size) => sum + size, message.sizeBytes);
  if (bytes <= runningBytesMax && sizes.length < runningMax) return null;
  return {
    isDone: false,
    sentence: `${id} stays in quarantine: other messages are being stored. Try again in a minute.`,
  };
}

async function runAction({ message, way, by }: QuarantineAction, ports: QuarantineActionPorts): Promise<ActionResult> {
  const { store, actor, log } = ports;
  const [current] = await store.quarantinedByUid(message.mailboxId, message.folderEpoch, message.uid);
  const result: ResolveResult = current === undefined ? { what: 'resolved' } : await apply(way, current, ports);
  const name = resultName(result);
  const tally = createResolveTally();
  tally.add(message, name);
  const ticket = result.what === 'stored' ? result.ref : null;
  const id = quarantineId(message);
  log.info({ quarantine_id: id, action: way, result: name, ticket, by }, events.quarantineResolved);
  await tally.write(store, { who: pageActor(by), host: actor.host }, quarantineActions[way]);
  const hint = resultHint(result, message);
  const sentence = `${id}: ${resultSentence(result)}.`;
  return { isDone: isResolved(result), sentence: hint === null ? sentence : `${sentence} ${asRunHere(hint)}` };
}

async function apply(
  way: QuarantineAction['way'],
  message: QuarantinedMessage,
  ports: QuarantineActionPorts,
): Promise<ResolveResult> {
  return way === 'discard' ? await discardOne(ports.store, message) : await resolveOne(ports, message, way);
}
