/**
 * Batches: cuts what is to be fetched into groups bounded by count and by bytes, so that memory does not grow with the
 * mailbox and a transaction stays small. Pure.
 */

export type BatchBounds = { readonly messagesMax: number; readonly bytesMax: number };

export type FetchLimits = {
  /** A larger message is quarantined, and only its header is fetched. */
  readonly messageBytesMax: number;
  readonly batch: BatchBounds;
  /** Time limit of one fetch, beside the time that its bytes take at the slowest rate accepted. */
  readonly batchTimeoutMs: number;
};

/** The messages that are fetched next. One that is larger than `bytesMax` is a batch of its own. */
export function firstBatch<T extends { readonly sizeBytes: number }>(
  all: readonly T[],
  { messagesMax, bytesMax }: BatchBounds,
): readonly T[] {
  let bytes = 0;
  const end = all.findIndex(({ sizeBytes }, index) => {
    bytes += sizeBytes;
    return index > 0 && (index >= messagesMax || bytes > bytesMax);
  });
  return end < 0 ? all : all.slice(0, end);
}

/** Pieces of at most `size`, in order. */
export function chunksOf<T>(all: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) =>
    all.slice(index * size, (index + 1) * size),
  );
}

/** Announced sizes, added up. */
export function bytesOf(messages: readonly { readonly sizeBytes: number }[]): number {
  return messages.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
