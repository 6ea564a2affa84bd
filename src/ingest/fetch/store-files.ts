/**
 * Durable files before rows: writes the files of a batch, attachments as blobs and raw sources in a segment.
 *
 * All files of a batch are synced when it is yielded, and the memory that held them is released. After a crash, files
 * that no row names are left behind; retention removes them. The source of a duplicate is written in vain: that is the
 * price of writing files while the batch before is committed.
 */
import type { StoredSource } from '../model.ts';
import type { Blobs, CompressedSource, RawSources } from '../ports.ts';
import type { FetchedMessage, StoredMessage } from './fetched-message.ts';
import type { MailboxQuota } from './storage-quota.ts';

type FileStores = { readonly blobs: Blobs; readonly raw: RawSources };

/** The same batches, in order, with their files on disk. Throws `mailbox_flooding` beside `disk_*`. */
export async function* storeFiles(
  batches: AsyncIterable<readonly FetchedMessage[]>,
  stores: FileStores,
  quota: MailboxQuota,
): AsyncGenerator<readonly StoredMessage[]> {
  for await (const batch of batches) {
    quota.admit();
    yield await storeBatch(batch, stores, quota);
  }
}

async function storeBatch(
  batch: readonly FetchedMessage[],
  stores: FileStores,
  quota: MailboxQuota,
): Promise<readonly StoredMessage[]> {
  const attachments = batch.flatMap((message) => (message.what === 'parsed' ? message.parsed.attachments : []));
  const sources = batch.flatMap((message) => (message.what === 'vanished' ? [] : (message.raw ?? [])));
  const files = [...attachments.map(({ content }) => content), ...sources.map(({ compressed }) => compressed)];
  const bytes = files.reduce((sum, { length }) => sum + length, 0);
  const [locations] = await Promise.all([stores.raw.append(sources), stores.blobs.write(attachments)]);
  quota.stored(bytes);
  const located = new Map(sources.map((source, index) => [source, locations[index]]));
  return batch.map((message) => withLocation(message, located));
}

type Located = ReadonlyMap<CompressedSource, StoredSource | undefined>;

function withLocation(message: FetchedMessage, located: Located): StoredMessage {
  if (message.what === 'vanished') return message;
  if (message.what === 'parsed') return { ...message, raw: storedSource(message.raw, located) };
  return { ...message, raw: message.raw === null ? null : storedSource(message.raw, located) };
}

function storedSource(source: CompressedSource, located: Located): StoredSource {
  const stored = located.get(source);
  if (stored === undefined) throw new Error('a raw source was appended and has no location');
  return stored;
}
