/** What `reconcile --files` adds: whether the files that rows name are there, and how that is told. */
import type { App } from '../compose/compose.ts';
import { checkFiles, type FilesReport } from '../ingest/repair/reconcile.ts';
import type { Context } from './context.ts';

/** `listedMax`: how many of what is wrong are named one by one. */
export async function filesOf(
  app: App,
  keepDays: number,
  listedMax: number,
  { terminal, nowMs }: Context,
): Promise<FilesReport> {
  const bar = await terminal.progress('files');
  try {
    return await checkFiles({ ...app, clock: { nowMs } }, { keepDays, listedMax }, bar.update);
  } finally {
    bar.clear();
  }
}

export function areThere({ wrongAttachmentFiles, wrongSegments }: FilesReport): boolean {
  return wrongAttachmentFiles === 0 && wrongSegments.length === 0;
}

function mailsWithoutSource({ wrongSegments }: FilesReport): { readonly mails: number; readonly waiting: number } {
  const sum = (of: 'mails' | 'waiting') => wrongSegments.reduce((all, segment) => all + segment[of], 0);
  return { mails: sum('mails'), waiting: sum('waiting') };
}

export function filesJson(report: FilesReport): Record<string, unknown> {
  const { mails, waiting } = mailsWithoutSource(report);
  return {
    attachment_files: report.attachmentFiles,
    attachment_files_wrong: report.wrongAttachmentFiles,
    source_files: report.sourceFiles,
    source_files_wrong: report.wrongSegments.length,
    mails_without_source: mails,
    quarantined_without_source: waiting,
    wrong_files: [
      ...report.wrongBlobs.map(({ sha256, messageId }) => ({ attachment: sha256, message: messageId })),
      ...report.wrongSegments.map(({ segment }) => ({ source: segment })),
    ],
  };
}

export async function tellFiles(report: FilesReport, listedMax: number, { terminal }: Context): Promise<void> {
  const { attachmentFiles, wrongAttachmentFiles, wrongBlobs, sourceFiles, wrongSegments } = report;
  await terminal.line(`${attachmentFiles} files of attachments, ${sourceFiles} of raw sources`);
  if (wrongAttachmentFiles > 0)
    await terminal.line(
      `wrong: ${wrongAttachmentFiles} attachments whose file is missing, or not as long as it was`,
      'red',
    );
  for (const { sha256, messageId } of wrongBlobs) await terminal.line(`  attachment ${sha256}  message ${messageId}`);
  if (wrongBlobs.length < wrongAttachmentFiles) await terminal.line('  …');
  if (wrongSegments.length === 0) return;
  const { mails, waiting } = mailsWithoutSource(report);
  const quarantined = waiting === 0 ? '' : `, ${waiting} of them in quarantine`;
  await terminal.line(`wrong: ${mails} mails whose raw source is missing${quarantined}`, 'red');
  for (const { segment } of wrongSegments.slice(0, listedMax)) await terminal.line(`  source ${segment}`);
  if (wrongSegments.length > listedMax) await terminal.line('  …');
}
