/**
 * The messages of the corpus folder with what their upstream test suites state about them.
 *
 * Fields are as the folder's own README names them; one that is absent is not stated. A message whose SHA-256 begins
 * with c, d, e or f is held out: its figures show how general the rules are. What the manifest does not list is not
 * read.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { corpusFolder, readMail } from '../../mail/corpus.ts';

/** What is stated of one message, field by field. */
export type Stated = Readonly<Record<string, unknown>>;

export type CorpusMail = {
  /** Path in the corpus folder: `source/name.eml`. */
  readonly file: string;
  readonly source: string;
  readonly sizeBytes: number;
  readonly isHeldOut: boolean;
  /** null: no suite states anything. */
  readonly stated: Stated | null;
  /** As a mail server hands it out. */
  readonly read: () => Uint8Array<ArrayBuffer>;
};

/** In the order of the manifest. */
export function readCorpus(): readonly CorpusMail[] {
  const stated = new Map(
    lines('expectations.jsonl')
      .map((line) => JSON.parse(line))
      .map((one) => [one.file, one]),
  );
  return lines('manifest.tsv')
    .slice(1)
    .map((row) => {
      const [file = '', source = '', , sha256 = '', sizeBytes = '', tags = ''] = row.split('\t');
      return {
        file,
        source,
        sizeBytes: Number(sizeBytes),
        isHeldOut: /^[c-f]/u.test(sha256),
        stated: stated.get(file) ?? null,
        read: () => readMail(file, tags.split(',')),
      };
    });
}

function lines(name: string): readonly string[] {
  return readFileSync(join(corpusFolder, name), 'utf8').trim().split('\n');
}
