/**
 * Puts a message back whose row is gone while its outcome and its ticket are still there: parsed again from its kept source, or
 * from the server, and stored under the id and the ticket that the outcome names.
 *
 * Another mail than the one that was stored (its identity says so) is refused. Throws what disk, server and database throw.
 */
import { isFailure } from '../errors.ts';
import { mailIdentity } from '../mail/fingerprint.ts';
import type { Mailbox } from './mailbox.ts';
import type { PollPorts } from './poll-ports.ts';
import type { ServerSources } from './quarantine-source.ts';
import type { LostMessage, ReconcileStore } from './reconcile-ports.ts';

/** `gone`: its source is neither here nor on the server; `other`: what is there is another mail, or cannot be parsed. */
export type Restored = 'restored' | 'resolved' | 'gone' | 'other';

export type RestorePorts = Pick<PollPorts, 'digester' | 'blobs' | 'raw'> & {
  readonly store: Pick<ReconcileStore, 'restoreMessage'>;
};

export async function restoreMessage(
  lost: LostMessage,
  mailbox: Mailbox,
  ports: RestorePorts,
  servers: ServerSources,
): Promise<Restored> {
  const source = (await kept(lost, ports)) ?? (await fetched(lost, mailbox, servers));
  if (source === null) return 'gone';
  const digested = await ports.digester.digest(source, mailbox.id);
  if (!digested.ok) return 'other';
  const { parsed } = digested;
  if (lost.identity !== null && mailIdentity(parsed) !== lost.identity) return 'other';
  await ports.blobs.write(parsed.attachments);
  return (await ports.store.restoreMessage(lost, parsed)) ? 'restored' : 'resolved';
}

async function kept({ raw }: LostMessage, ports: RestorePorts): Promise<Uint8Array | null> {
  if (raw === null) return null;
  try {
    return await ports.raw.read(raw);
  } catch (error) {
    if (isFailure(error, 'source_gone')) return null;
    throw error;
  }
}

async function fetched(lost: LostMessage, mailbox: Mailbox, servers: ServerSources): Promise<Uint8Array | null> {
  const found = await servers.fetch(lost, mailbox, null);
  return found.what === 'whole' ? found.source : null;
}
