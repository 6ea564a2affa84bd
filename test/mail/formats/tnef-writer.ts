/** Writes TNEF streams (MS-OXTNEF) and compressed RTF (MS-OXRTFCP) for tests, by the specifications. */

export type Property = { readonly tag: number; readonly value: Uint8Array | string; readonly named?: string };

export function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}

/** An attribute: level 1 for the message, 2 for an attachment. */
export function attribute(level: number, id: number, value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value);
  const checksum = Buffer.alloc(2);
  checksum.writeUInt16LE(bytes.reduce((sum, byte) => (sum + byte) % 65_536, 0));
  return Buffer.concat([Buffer.of(level), number32(id), number32(bytes.length), bytes, checksum]);
}

/** A list of MAPI properties; text is written in the encoding that the type in its tag asks for. */
export function properties(list: readonly Property[]): Buffer {
  return Buffer.concat([number32(list.length), ...list.map(property)]);
}

function property({ tag, value, named }: Property): Buffer {
  const type = tag & 0xffff;
  const bytes = typeof value === 'string' ? Buffer.from(`${value}\0`, type === 0x1f ? 'utf16le' : 'latin1') : value;
  const name = named === undefined ? Buffer.alloc(0) : Buffer.from(`${named}\0`, 'utf16le');
  const head = named === undefined ? [] : [Buffer.alloc(16), number32(1), number32(name.length), padded(name)];
  const isPrefixed = [0x0d, 0x1e, 0x1f, 0x102].includes(type);
  return Buffer.concat([
    number32(tag),
    ...head,
    ...(isPrefixed ? [number32(1), number32(bytes.length)] : []),
    padded(bytes),
  ]);
}

export const ids = {
  codePage: 0x00069007,
  subject: 0x00018004,
  body: 0x0002800c,
  properties: 0x00069003,
  attachmentStart: 0x00069002,
  title: 0x00018010,
  data: 0x0006800f,
  attachmentProperties: 0x00069005,
} as const;

export function tnef(...attributes: readonly Uint8Array[]): Buffer {
  return Buffer.concat([number32(0x223e9f78), Buffer.of(1, 0), ...attributes]);
}

/** An attachment as the first programs wrote it. */
export function legacyAttachment(title: string, data: Uint8Array | string): Buffer {
  return Buffer.concat([
    attribute(2, ids.attachmentStart, Buffer.alloc(14)),
    attribute(2, ids.title, `${title}\0`),
    attribute(2, ids.data, data),
  ]);
}

function compressedHeader(body: Uint8Array, rawLength: number, mark: number): Buffer {
  return Buffer.concat([number32(body.length + 12), number32(rawLength), number32(mark), number32(0), body]);
}

/** Compressed without any reference to the dictionary but the last one, which ends it. */
export function compressedRtf(rtf: string): Buffer {
  const raw = Buffer.from(rtf, 'latin1');
  const groups: Buffer[] = [];
  for (let at = 0; at <= raw.length; at += 8) {
    const bytes = raw.subarray(at, at + 8);
    if (bytes.length === 8) groups.push(Buffer.of(0), bytes);
    else {
      const end = Buffer.alloc(2);
      end.writeUInt16BE(((207 + raw.length) % 4096) << 4);
      groups.push(Buffer.of(1 << bytes.length), bytes, end);
    }
  }
  return compressedHeader(Buffer.concat(groups), raw.length, 0x75465a4c);
}

export function storedRtf(rtf: string): Buffer {
  return compressedHeader(Buffer.from(rtf, 'latin1'), rtf.length, 0x414c454d);
}

/** As much text out of as few bytes as there can be. */
export function rtfBomb(bytes: number): Buffer {
  return compressedHeader(Buffer.alloc(bytes, 0xff), 0xffffffff, 0x75465a4c);
}
