/**
 * The lines that an IMAP server sends, out of the pieces in which they arrive; literals (RFC 9051 section 4.3), which
 * hold messages, are passed over.
 */

/** Give it the pieces in their order; it calls `line` for each line, without its end. */
export function linesOfImap(line: (text: string) => void): (piece: Buffer) => void {
  let unfinished = '';
  let literalBytes = 0;
  return (piece) => {
    for (let at = 0; at < piece.length; ) {
      if (literalBytes > 0) {
        const passed = Math.min(literalBytes, piece.length - at);
        literalBytes -= passed;
        at += passed;
        continue;
      }
      const end = piece.indexOf(10, at);
      if (end === -1) {
        unfinished += piece.toString('latin1', at);
        return;
      }
      const text = (unfinished + piece.toString('latin1', at, end)).replace(/\r$/, '');
      unfinished = '';
      at = end + 1;
      literalBytes = Number(/\{(\d+)\}$/.exec(text)?.[1] ?? 0);
      line(text);
    }
  };
}

/** How many messages the server says that the folder holds; null for any other line. */
export function existing(line: string): number | null {
  const count = /^\* (\d+) EXISTS$/i.exec(line)?.[1];
  return count === undefined ? null : Number(count);
}
