/**
 * A small TNEF stream (MS-OXTNEF), as Outlook puts into a winmail.dat: subject, plain text, files.
 */
type Tnef = {
  readonly subject: string;
  readonly body: string;
  readonly files: readonly { readonly name: string; readonly content: Uint8Array }[];
};

const ofMessage = 1;
const ofFile = 2;

export function tnefOf({ subject, body, files }: Tnef): Buffer {
  const head = Buffer.alloc(6);
  head.writeUInt32LE(0x223e9f78);
  head.writeUInt16LE(1, 4);
  return Buffer.concat([
    head,
    // attTnefVersion, attOemCodepage (1252), attSubject, attBody
    attribute(ofMessage, 0x00089006, Buffer.from([0, 0, 1, 0])),
    attribute(ofMessage, 0x00069007, Buffer.from([0xe4, 0x04, 0, 0, 0, 0, 0, 0])),
    attribute(ofMessage, 0x00018004, text(subject)),
    attribute(ofMessage, 0x0002800c, text(body)),
    // attAttachRenddata, attAttachTitle, attAttachData
    ...files.flatMap(({ name, content }) => [
      attribute(ofFile, 0x00069002, Buffer.from([1, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0])),
      attribute(ofFile, 0x00018010, text(name)),
      attribute(ofFile, 0x0006800f, content),
    ]),
  ]);
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`, 'latin1');
}

/** Level, id, length, the bytes, and their sum modulo 65,536. */
function attribute(level: number, id: number, content: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUInt8(level);
  head.writeUInt32LE(id, 1);
  head.writeUInt32LE(content.length, 5);
  const end = Buffer.alloc(2);
  end.writeUInt16LE(content.reduce((sum, byte) => (sum + byte) & 0xffff, 0));
  return Buffer.concat([head, content, end]);
}
