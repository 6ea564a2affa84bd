/**
 * Cuts what is to be fetched into windows bounded by count and by bytes, so that memory does not grow with the
 * mailbox and one transaction stays small. Pure.
 */

export type WindowBounds = { readonly messagesMax: number; readonly bytesMax: number };

/** Windows in order. What is larger than `bytesMax` is a window of its own. */
export function windowsOf<T extends { readonly sizeBytes: number }>(
  all: readonly T[],
  bounds: WindowBounds,
): readonly (readonly T[])[] {
  const windows: T[][] = [];
  let bytes = 0;
  for (const message of all) {
    const open = windows.at(-1);
    const fits = open !== undefined && open.length < bounds.messagesMax && bytes + message.sizeBytes <= bounds.bytesMax;
    if (fits) open.push(message);
    else windows.push([message]);
    bytes = fits ? bytes + message.sizeBytes : message.sizeBytes;
  }
  return windows;
}

/** Pieces of at most `size`, in order. */
export function chunksOf<T>(all: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) =>
    all.slice(index * size, (index + 1) * size),
  );
}
