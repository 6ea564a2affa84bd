/**
 * Reads the corpus of public messages, which is not part of the repository, for the corpus test and the parser bench.
 *
 * The folder is TICKETMAILD_CORPUS, else `../shared/corpus` beside the checkout; `corpusPresent` is false without a
 * manifest. Bytes are as an IMAP server would send them: no mbox `From ` line, every line end CRLF.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Statements of an upstream test suite about a message; an absent field is not stated. */
export type Expectation = {
  readonly source: string;
  readonly file: string;
  readonly subject?: string;
  readonly from_addr?: string;
  readonly from_name?: string;
  readonly to_addrs?: readonly (string | null)[];
  readonly message_id?: string;
  /** UTC, as `2017-09-13 11:05:45`. */
  readonly date_utc?: string;
  readonly text_first_line?: string;
  readonly text_equals?: string;
  readonly text_contains?: readonly string[];
  readonly html_contains?: readonly string[];
  readonly attachments?: readonly {
    readonly name?: string | null;
    readonly type?: string;
    readonly size?: number;
    readonly sha256?: string;
  }[];
  readonly is_bounce?: boolean;
  readonly is_auto_reply?: boolean;
};

export const corpusFolder = resolve(
  process.env.TICKETMAILD_CORPUS ?? join(import.meta.dirname, '../../../shared/corpus'),
);
export const corpusPresent = existsSync(join(corpusFolder, 'manifest.tsv'));

/** The expectations, in the order of the file. */
export function readExpectations(): readonly Expectation[] {
  const lines = readFileSync(join(corpusFolder, 'expectations.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Expectation);
}

/** Path and tags of every message. */
export function readManifest(): readonly { readonly path: string; readonly tags: readonly string[] }[] {
  const rows = readFileSync(join(corpusFolder, 'manifest.tsv'), 'utf8').trim().split('\n').slice(1);
  return rows.map((row) => {
    const cells = row.split('\t');
    return { path: cells[0] ?? '', tags: (cells[5] ?? '').split(',') };
  });
}

/** One message as a server sends it. */
export function readMail(path: string, tags: readonly string[]): Uint8Array<ArrayBuffer> {
  const bytes = readFileSync(join(corpusFolder, path));
  const start = tags.includes('mbox-from-line') ? bytes.indexOf(10) + 1 : 0;
  return crlf(bytes.subarray(start));
}

/** A copy in which each bare LF is CRLF. */
export function crlf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length * 2);
  let length = 0;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] ?? 0;
    if (byte === 10 && bytes[index - 1] !== 13) out[length++] = 13;
    out[length++] = byte;
  }
  return out.slice(0, length);
}
