/**
 * The transfer encodings that the generated messages use, with LF line ends.
 *
 * They write the plainest valid form and know no line length of headers: a long encoded word stays in one piece, as
 * several mail programs send it.
 */

const columnsMax = 75;
const base64Columns = 76;
const equalsSign = 0x3d;
const printableAscii = /^[\x20-\x7e]*$/;

/** Text for a header field: itself when it is printable ASCII, else one encoded word (RFC 2047). */
export function encodedWord(text: string): string {
  return printableAscii.test(text) ? text : `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=`;
}

/** The `filename` parameter of a Content-Disposition (RFC 2183, RFC 2231). */
export function fileNameParameter(name: string): string {
  return printableAscii.test(name) ? `filename="${name}"` : `filename*=UTF-8''${encodeURIComponent(name)}`;
}

/** Base64 in lines of 76 (RFC 2045 section 6.8). */
export function base64Lines(bytes: Buffer): string {
  return bytes.toString('base64').replace(new RegExp(`(.{${base64Columns}})`, 'g'), '$1\n');
}

/** Quoted-printable of the UTF-8 form (RFC 2045 section 6.7); line ends stay. */
export function quotedPrintable(text: string): string {
  return text.split('\n').map(quotedLine).join('\n');
}

function quotedLine(line: string): string {
  let done = '';
  let current = '';
  for (const byte of Buffer.from(line)) {
    const piece = quotedByte(byte);
    if (current.length + piece.length > columnsMax) {
      done += `${current}=\n`;
      current = '';
    }
    current += piece;
  }
  // A blank at the end of a line may be lost on the way, so it is written as its code.
  if (current.endsWith(' ')) current = `${current.slice(0, -1)}=20`;
  return done + current;
}

function quotedByte(byte: number): string {
  if (byte !== equalsSign && byte >= 0x20 && byte <= 0x7e) return String.fromCharCode(byte);
  return `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}
