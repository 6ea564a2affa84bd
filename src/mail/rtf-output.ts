/**
 * Collects the text of an RTF document: bytes in changing code pages, and characters by their number.
 *
 * Bytes of one code page are decoded together, since a character may take several of them. Never fails.
 */
import { decodeCodePage } from './code-pages.ts';

export type RtfOutput = {
  /** A byte of a text in that code page. */
  readonly byte: (byte: number, codePage: number) => void;
  /** Characters as they are. */
  readonly characters: (text: string) => void;
  /** Everything so far. */
  readonly text: () => string;
};

/** `bytesMax` is how many bytes there can be at most. */
export function makeRtfOutput(bytesMax: number): RtfOutput {
  const pieces: string[] = [];
  const waiting = Buffer.alloc(bytesMax);
  const singles = new Map<number, string>();
  let waitingCount = 0;
  let isAscii = true;
  let waitingCodePage = 0;

  const decodeOne = (byte: number): string => {
    const key = waitingCodePage * 256 + byte;
    const known = singles.get(key);
    if (known !== undefined) return known;
    const text = decodeCodePage(Uint8Array.of(byte), waitingCodePage);
    singles.set(key, text);
    return text;
  };
  const flush = (): void => {
    if (waitingCount === 0) return;
    if (isAscii) pieces.push(waiting.toString('latin1', 0, waitingCount));
    else if (waitingCount === 1) pieces.push(decodeOne(waiting[0] ?? 0));
    else pieces.push(decodeCodePage(waiting.subarray(0, waitingCount), waitingCodePage));
    waitingCount = 0;
    isAscii = true;
  };
  const byte = (value: number, codePage: number): void => {
    // Between two multi-byte texts ASCII belongs to either.
    if (codePage !== waitingCodePage && !(isAscii && value < 128)) flush();
    if (waitingCount === bytesMax) flush();
    waitingCodePage = codePage;
    if (value >= 128) isAscii = false;
    waiting[waitingCount++] = value;
  };
  return {
    byte,
    characters: (text) => {
      const code = text.charCodeAt(0);
      if (text.length === 1 && code < 128) byte(code, waitingCodePage);
      else {
        flush();
        pieces.push(text);
      }
    },
    text: () => {
      flush();
      return pieces.join('');
    },
  };
}
