/**
 * What the main thread and the storage thread say to each other: plain data that a message can carry.
 *
 * Bytes lie in buffers of their own, which are moved there; the thread frees them when they are written.
 */
export type Bytes = Uint8Array<ArrayBuffer>;

export type Folders = { readonly blobs: string; readonly raw: string };

/** Attachments, each once. `id` is for temporary names that nobody else has. */
export type BlobsTask = {
  readonly what: 'blobs';
  readonly id: string;
  readonly blobs: readonly { readonly sha256: string; readonly content: Bytes }[];
};

/** Compressed sources, to lie one after the other in the segment of `day`; `id` names a new one. */
export type AppendTask = {
  readonly what: 'append';
  readonly id: string;
  readonly day: string;
  readonly sources: readonly Bytes[];
};

export type Task = BlobsTask | AppendTask;

/** Where the first of the appended sources begins. */
export type Start = { readonly segment: string; readonly offset: number };

/** `code` is that of the file system. */
export type Ended =
  | { readonly ok: true; readonly start: Start | null }
  | { readonly ok: false; readonly code: string; readonly message: string };

export type Asked = { readonly number: number; readonly tasks: readonly Task[] };

/** One end for each task, in order. */
export type Answered = { readonly number: number; readonly ended: readonly Ended[] };
