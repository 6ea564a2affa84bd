/**
 * Reads a text part: its bytes, decoded from their transfer encoding and charset, as text that can be stored.
 *
 * Files that are written into plain text (uuencode, yEnc) are taken out of it; flowed text is put together again. HTML
 * may name its own charset, which counts where the part names none. Any bytes give text; it never fails.
 */
import { isUtf8 } from 'node:buffer';
import { decodeText } from './charset.ts';
import { unflow } from './flowed.ts';
import type { MimePart } from './mime-part.ts';
import { storable } from './text.ts';
import { viewDecoded } from './transfer-encoding.ts';
import { type EmbeddedFile, findEmbeddedFiles } from './uuencode.ts';

const metaSearchBytes = 2048;

/** HTML as sent, with LF line ends. */
export function readHtmlPart(part: MimePart): string {
  const bytes = viewDecoded(part.raw, part.encoding);
  const label = part.parameters.get('charset') ?? null;
  const isTold = label !== null || isUtf8(bytes);
  return storable(decodeText(bytes, label, isTold ? null : charsetOfHtml(bytes)));
}

/** The charset that a page names in its head (`meta`), or null. */
function charsetOfHtml(bytes: Uint8Array): string | null {
  const start = asBuffer(bytes).toString('latin1', 0, metaSearchBytes);
  return /\bcharset\s{0,9}=\s{0,9}["']?([\w.:-]{1,40})/iu.exec(start)?.[1] ?? null;
}

/** Plain text, and the files that were in it. */
export function readPlainPart(part: MimePart): { readonly text: string; readonly files: readonly EmbeddedFile[] } {
  const bytes = asBuffer(viewDecoded(part.raw, part.encoding));
  const files = findEmbeddedFiles(bytes);
  const text = storable(decodeText(withoutFiles(bytes, files), part.parameters.get('charset') ?? null));
  return { text: readable(part, text), files };
}

function readable({ type, parameters }: MimePart, text: string): string {
  if (type !== 'text/plain') return withoutMarkup(text);
  const isFlowed = parameters.get('format')?.trim().toLowerCase() === 'flowed';
  return isFlowed ? unflow(text, parameters.get('delsp')?.trim().toLowerCase() === 'yes') : text;
}

/**
 * text/enriched and its forerunner (RFC 1896): commands in angle brackets, `<<` for a bracket. What cannot be the name
 * of a command, as an address, stays.
 */
function withoutMarkup(text: string): string {
  return text.replace(/<<|<param>[^<]{0,1000}<\/param>|<\/?[a-z][a-z0-9-]{0,59}>/giu, (mark) =>
    mark === '<<' ? '<' : '',
  );
}

function withoutFiles(bytes: Buffer, files: readonly EmbeddedFile[]): Buffer {
  if (files.length === 0) return bytes;
  const pieces: Buffer[] = [];
  let from = 0;
  for (const { start, end } of files) {
    pieces.push(bytes.subarray(from, start));
    from = end;
  }
  return Buffer.concat([...pieces, bytes.subarray(from)]);
}

const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
