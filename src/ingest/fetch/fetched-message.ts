/** Fetched messages: the values that pass from stage to stage of the fetch pipeline. */
import type { FingerprintedMessage } from '../../mail/fingerprint.ts';
import type { QuarantineReason, StoredSource } from '../model.ts';
import type { CompressedSource } from '../ports.ts';

/** What arrived for one UID. `Source`: the raw source in memory, or its location on disk. */
export type FetchedMessage<Source = CompressedSource> = {
  readonly uid: number;
  readonly sizeBytes: number;
  readonly receivedAtMs: number | null;
} & (
  | (FingerprintedMessage & { readonly what: 'parsed'; readonly raw: Source })
  | {
      readonly what: 'quarantined';
      readonly reason: QuarantineReason;
      readonly raw: Source | null;
      /** Set where only the header was fetched. */
      readonly headMessageId?: string | undefined;
    }
  | { readonly what: 'vanished' }
);

/** A message whose files are on disk. The contents of its attachments are no longer in memory. */
export type StoredMessage = FetchedMessage<StoredSource>;
