/**
 * Whether the files that rows name are on the disk: attachments, and raw sources as long as they are kept.
 *
 * Looked at are their lengths, not their contents. A daemon may be at work meanwhile: it writes a file before the row
 * that names it.
 */

import type { Clock } from '../async/clock.ts';
import type { Blobs, RawSources } from './ports.ts';
import type { NamedBlob, NamedSegment, ReconcileStore } from './reconcile-ports.ts';

export type FilesPorts = {
  readonly store: Pick<ReconcileStore, 'countNamedBlobs' | 'namedBlobs' | 'namedSegments'>;
  readonly blobs: Pick<Blobs, 'lengthOf'>;
  readonly raw: Pick<RawSources, 'lengthOf' | 'isBefore'>;
  readonly clock: Pick<Clock, 'nowMs'>;
};

export type FilesReport = {
  readonly attachmentFiles: number;
  /** Missing, or of another length. */
  readonly wrongAttachmentFiles: number;
  /** The first of them. */
  readonly wrongBlobs: readonly NamedBlob[];
  readonly sourceFiles: number;
  /** Missing, or too short. Expired ones are none of them, unless a mail in quarantine needs them. */
  readonly wrongSegments: readonly NamedSegment[];
};

const dayMs = 86_400_000;

/** `keepDays`: how long raw sources are kept. At most `listedMax` attachments are told one by one. */
export async function checkFiles(
  ports: FilesPorts,
  { keepDays, listedMax }: { readonly keepDays: number; readonly listedMax: number },
  onProgress: (done: number, total: number) => void,
): Promise<FilesReport> {
  const wrongBlobs: NamedBlob[] = [];
  const total = await ports.store.countNamedBlobs();
  let [attachmentFiles, wrongAttachmentFiles] = [0, 0];
  for await (const blob of ports.store.namedBlobs()) {
    attachmentFiles += 1;
    onProgress(attachmentFiles, Math.max(total, attachmentFiles));
    if ((await ports.blobs.lengthOf(blob.sha256)) === blob.sizeBytes) continue;
    wrongAttachmentFiles += 1;
    if (wrongBlobs.length < listedMax) wrongBlobs.push(blob);
  }
  const beforeMs = ports.clock.nowMs() - keepDays * dayMs;
  const segments = (await ports.store.namedSegments()).filter(
    ({ segment, waiting }) => waiting > 0 || !ports.raw.isBefore(segment, beforeMs),
  );
  const wrongSegments: NamedSegment[] = [];
  for (const one of segments) {
    const length = await ports.raw.lengthOf(one.segment);
    if (length === null || length < one.endOffset) wrongSegments.push(one);
  }
  return { attachmentFiles, wrongAttachmentFiles, wrongBlobs, sourceFiles: segments.length, wrongSegments };
}
