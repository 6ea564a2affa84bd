/**
 * RTF (version 1.9): extracts the HTML that Outlook encapsulated in it (MS-OXRTFEX), else its plain text.
 *
 * Own code: one pass over untrusted bytes, and the result is never longer than they are. Takes any bytes: groups may
 * stay open, control words may be unknown; bytes that are no RTF give null. Pictures, embedded objects and page headers
 * are left out. Never fails.
 */
import { decodeCodePage } from '../charset/decode.ts';

/** Either HTML or text. Line ends are LF. */
export type RtfBody = { readonly html: string; readonly text: null } | { readonly html: null; readonly text: string };

/** Deeper groups share the settings of the group at this depth. */
const depthMax = 500;
const wordLengthMax = 32;

const backslash = 0x5c;
const openingBrace = 0x7b;
const closingBrace = 0x7d;

/** Settings that end with their group. */
type Group = {
  readonly codePage: number;
  /** Number of characters after `\u`, for readers without Unicode. */
  readonly replacementCount: number;
  readonly isHidden: boolean;
  readonly isFontTable: boolean;
  /** Within `\*\htmltag`: a fragment of the HTML itself. */
  readonly isTag: boolean;
  /** For readers of RTF only (`\htmlrtf`), or hidden text (`\v`). */
  readonly isSuppressed: boolean;
};

class Reader {
  readonly bytes: Uint8Array;
  readonly output: RtfOutput;
  readonly groups: Group[] = [];
  readonly fonts = new Map<number, number>();
  group: Group = {
    codePage: 1252,
    replacementCount: 1,
    isHidden: false,
    isFontTable: false,
    isTag: false,
    isSuppressed: false,
  };
  at = 0;
  /** Open groups beyond `depthMax`, which are not in `groups`. */
  deeper = 0;
  documentCodePage = 1252;
  defaultFont = -1;
  fontInTable = -1;
  isHtml = false;
  /** After `\*`: the group is hidden unless its control word is known. */
  isStarred = false;
  /** Characters still to skip after `\u`. */
  skip = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.output = makeRtfOutput(bytes.length);
  }
}

/** null for bytes that do not start like RTF. */
export function readRtf(bytes: Uint8Array): RtfBody | null {
  if (latin1(bytes, 0, 5) !== '{\\rtf') return null;
  const reader = new Reader(bytes);
  while (reader.at < bytes.length) readNext(reader);
  const text = reader.output.text();
  return reader.isHtml ? { html: text, text: null } : { html: null, text };
}

function readNext(reader: Reader): void {
  const byte = reader.bytes[reader.at++] ?? 0;
  if (byte === backslash) readControl(reader);
  else if (byte === openingBrace) openGroup(reader);
  else if (byte === closingBrace) closeGroup(reader);
  else if (byte !== 10 && byte !== 13 && byte !== 0) writeByte(reader, byte);
}

function openGroup(reader: Reader): void {
  reader.skip = 0;
  reader.isStarred = false;
  if (reader.groups.length >= depthMax) reader.deeper += 1;
  else reader.groups.push(reader.group);
}

function closeGroup(reader: Reader): void {
  reader.skip = 0;
  reader.isStarred = false;
  if (reader.deeper > 0) reader.deeper -= 1;
  else reader.group = reader.groups.pop() ?? reader.group;
}

function isShown({ group }: Reader): boolean {
  return !group.isSuppressed && !group.isHidden;
}

function writeByte(reader: Reader, byte: number): void {
  if (reader.skip > 0) reader.skip -= 1;
  else if (isShown(reader))
    reader.output.byte(byte, reader.group.isTag ? reader.documentCodePage : reader.group.codePage);
}

function writeCharacters(reader: Reader, text: string): void {
  if (reader.skip > 0) reader.skip -= 1;
  else if (isShown(reader)) reader.output.characters(text);
}

/** After a backslash: a control word with its number, `'` and two hex digits, or a control symbol. */
function readControl(reader: Reader): void {
  const { bytes } = reader;
  const start = reader.at;
  while (isLetter(bytes[reader.at]) && reader.at - start < wordLengthMax) reader.at += 1;
  if (reader.at === start) readSymbol(reader);
  else readWord(reader, start);
}

function readWord(reader: Reader, start: number): void {
  const { bytes } = reader;
  const word = latin1(bytes, start, reader.at);
  const numberStart = reader.at;
  if (bytes[reader.at] === 0x2d) reader.at += 1;
  while (isDigit(bytes[reader.at]) && reader.at - numberStart < 11) reader.at += 1;
  const digits = latin1(bytes, numberStart, reader.at);
  if (bytes[reader.at] === 0x20) reader.at += 1;
  const number = digits === '' || digits === '-' ? null : Number(digits);
  applyWord(reader, word, number);
  reader.isStarred = false;
}

function readSymbol(reader: Reader): void {
  const sign = String.fromCharCode(reader.bytes[reader.at++] ?? 0);
  if (sign === "'") {
    const byte = Number.parseInt(latin1(reader.bytes, reader.at, reader.at + 2), 16);
    reader.at += 2;
    if (!Number.isNaN(byte)) writeByte(reader, byte);
  } else if (sign === '*') reader.isStarred = true;
  else {
    const character = characters.get(sign);
    if (character !== undefined) writeCharacters(reader, character);
  }
}

function isLetter(byte = 0): boolean {
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a);
}

function isDigit(byte = 0): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** Of a few bytes: `toString` of a Buffer takes longer. */
function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let at = start; at < end && at < bytes.length; at++) text += String.fromCharCode(bytes[at] ?? 0);
  return text;
}

// Control words

function applyWord(reader: Reader, word: string, number: number | null): void {
  const act = actions.get(word);
  const character = characters.get(word);
  if (act !== undefined) act(reader, number ?? 0, number === null);
  else if (character !== undefined) writeCharacters(reader, character);
  else applySilentWord(reader, word);
}

/** A control word that writes nothing: it may hide its group, or choose a code page. */
function applySilentWord(reader: Reader, word: string): void {
  if (reader.skip > 0) reader.skip -= 1;
  if (reader.isStarred || hiddenGroups.has(word)) change(reader, { isHidden: true });
  const codePage = documentCodePages.get(word);
  if (codePage !== undefined) chooseDocumentCodePage(reader, codePage);
}

function change(reader: Reader, settings: Partial<Group>): void {
  reader.group = { ...reader.group, ...settings };
}

function set(reader: Reader, values: Partial<Reader>): void {
  Object.assign(reader, values);
}

const hidden: Partial<Group> = { isHidden: true };

function suppress(reader: Reader, applies: boolean, isSuppressed: boolean): void {
  if (applies) change(reader, { isSuppressed });
}

type Action = (reader: Reader, number: number, isBare: boolean) => void;

const actions: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['ansicpg', (reader, number) => chooseDocumentCodePage(reader, number || 1252)],
  // Encapsulation of HTML (MS-OXRTFEX)
  ['fromhtml', (reader) => set(reader, { isHtml: true })],
  ['htmltag', (reader) => change(reader, reader.isHtml ? { isTag: true, codePage: reader.documentCodePage } : hidden)],
  ['mhtmltag', (reader) => change(reader, hidden)],
  ['htmlrtf', (reader, number, isBare) => suppress(reader, reader.isHtml, isBare || number !== 0)],
  ['v', (reader, number, isBare) => suppress(reader, !reader.isHtml, isBare || number !== 0)],
  // Bullets are in the HTML as well
  ['pntext', (reader) => change(reader, reader.isHtml ? hidden : {})],
  // Fonts and code pages
  ['fonttbl', (reader) => change(reader, { isHidden: true, isFontTable: true })],
  ['deff', (reader, number) => set(reader, { defaultFont: number })],
  ['f', chooseFont],
  ['fcharset', (reader, number) => defineFont(reader, fontCodePages.get(number))],
  ['cpg', (reader, number) => defineFont(reader, number)],
  ['plain', resetCharacterStyle],
  // Characters by number
  ['uc', (reader, number) => change(reader, { replacementCount: Math.min(Math.max(number, 0), 100) })],
  ['u', writeUnicode],
  ['bin', (reader, number) => set(reader, { at: reader.at + Math.max(0, number) })],
]);

function chooseDocumentCodePage(reader: Reader, codePage: number): void {
  reader.documentCodePage = codePage;
  change(reader, { codePage });
}

function codePageOfFont(reader: Reader, font: number): number {
  return reader.fonts.get(font) ?? reader.documentCodePage;
}

/** Resets to the default font; ends hidden text, but not what `\htmlrtf` suppresses. */
function resetCharacterStyle(reader: Reader): void {
  change(reader, { codePage: codePageOfFont(reader, reader.defaultFont) });
  suppress(reader, !reader.isHtml, false);
}

function chooseFont(reader: Reader, font: number): void {
  if (reader.group.isFontTable) reader.fontInTable = font;
  else change(reader, { codePage: codePageOfFont(reader, font) });
}

function defineFont(reader: Reader, codePage: number | undefined): void {
  if (reader.group.isFontTable && codePage !== undefined && reader.fonts.size < 10_000)
    reader.fonts.set(reader.fontInTable, codePage);
}

/** A character by its number; numbers above 32767 are written as negative ones. */
function writeUnicode(reader: Reader, number: number): void {
  reader.skip = 0;
  const code = number < 0 ? number + 0x10000 : number;
  if (code > 0 && code <= 0xffff) writeCharacters(reader, String.fromCharCode(code));
  reader.skip = reader.group.replacementCount;
}

/** Control words and symbols for a character. Words that are in no table are skipped. */
const characters: ReadonlyMap<string, string> = new Map([
  ...['par', 'line', 'row', 'sect', 'page', 'nestrow', '\n', '\r'].map((word) => [word, '\n'] as const),
  ...['tab', 'cell', 'nestcell'].map((word) => [word, '\t'] as const),
  ['lquote', '\u2018'],
  ['rquote', '\u2019'],
  ['ldblquote', '\u201c'],
  ['rdblquote', '\u201d'],
  ['bullet', '\u2022'],
  ['endash', '\u2013'],
  ['emdash', '\u2014'],
  ['enspace', '\u2002'],
  ['emspace', '\u2003'],
  ['qmspace', '\u2005'],
  // Symbols: the byte after the backslash is the whole word, as are the line ends above.
  ['~', '\u00a0'],
  ['_', '\u2011'],
  ...['{', '}', '\\'].map((sign) => [sign, sign] as const),
]);

const hiddenGroups: ReadonlySet<string> = new Set(
  (
    'fonttbl colortbl stylesheet info pict objdata header headerl headerr headerf footer footerl footerr footerf fldinst ' +
    'nonesttables nonshppict bkmkstart bkmkend datafield themedata listtable listoverridetable rsidtbl generator xmlnstbl'
  ).split(' '),
);

/** Control words that choose the code page of the whole document. */
const documentCodePages: ReadonlyMap<string, number> = new Map(
  Object.entries({ ansi: 1252, mac: 10000, pc: 437, pca: 850 }),
);

/** Code pages by the character set of a font. 0, 1 and 2 (symbols) follow the document. */
const fontCodePages: ReadonlyMap<number, number> = new Map([
  [77, 10000],
  [128, 932],
  [129, 949],
  [130, 1361],
  [134, 936],
  [136, 950],
  [161, 1253],
  [162, 1254],
  [163, 1258],
  [177, 1255],
  [178, 1256],
  [186, 1257],
  [204, 1251],
  [222, 874],
  [238, 1250],
  [254, 437],
  [255, 850],
]);

// Output

type RtfOutput = ReturnType<typeof makeRtfOutput>;

/** Collects text. Bytes of one code page are decoded together, since a character may take several. `bytesMax` bytes. */
function makeRtfOutput(bytesMax: number) {
  const pieces: string[] = [];
  const pending = Buffer.alloc(bytesMax);
  const singles = new Map<number, string>();
  let pendingCount = 0;
  let isAscii = true;
  let pendingCodePage = 0;

  const decodeOne = (byte: number): string => {
    const key = pendingCodePage * 256 + byte;
    const known = singles.get(key);
    if (known !== undefined) return known;
    const text = decodeCodePage(Uint8Array.of(byte), pendingCodePage);
    singles.set(key, text);
    return text;
  };
  const flush = (): void => {
    if (pendingCount === 0) return;
    if (isAscii) pieces.push(pending.toString('latin1', 0, pendingCount));
    else if (pendingCount === 1) pieces.push(decodeOne(pending[0] ?? 0));
    else pieces.push(decodeCodePage(pending.subarray(0, pendingCount), pendingCodePage));
    pendingCount = 0;
    isAscii = true;
  };
  const byte = (value: number, codePage: number): void => {
    // ASCII between two multi-byte texts belongs to either.
    if (codePage !== pendingCodePage && !(isAscii && value < 128)) flush();
    if (pendingCount === bytesMax) flush();
    pendingCodePage = codePage;
    if (value >= 128) isAscii = false;
    pending[pendingCount++] = value;
  };
  return {
    byte,
    /** Characters that need no decoding. */
    characters: (text: string): void => {
      const code = text.charCodeAt(0);
      if (text.length === 1 && code < 128) byte(code, pendingCodePage);
      else {
        flush();
        pieces.push(text);
      }
    },
    text: (): string => {
      flush();
      return pieces.join('');
    },
  };
}
