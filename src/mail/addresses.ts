/**
 * Reads address fields (RFC 5322 section 3.4): names and addresses in their order, groups flattened.
 *
 * The grammar is nodemailer's, which takes what mailers write instead of it. Names are decoded after they are cut out,
 * so that a comma within an encoded word parts nobody. Entries with neither name nor address are left out, and so is
 * what comes after `lengthMax` characters or `addressesMax` entries.
 */
import parseAddresses from 'nodemailer/lib/addressparser';
import { decodeWords } from './encoded-words.ts';
import { plainLine, type RawHeader, unfold } from './headers.ts';
import type { Address } from './message.ts';

/** Of all fields of one name together; room for thousands of addresses. */
const lengthMax = 500_000;
/** Of all fields of one name together: more than any server delivers to. */
const addressesMax = 5_000;

/** All addresses of every field of that name. `charset` is for raw bytes. */
export function readAddresses(headers: readonly RawHeader[], name: string, charset: string | null): readonly Address[] {
  const addresses: Address[] = [];
  let length = 0;
  for (const [field, rawValue] of headers) {
    if (field !== name || length >= lengthMax || addresses.length >= addressesMax) continue;
    for (const address of listAddresses(unfold(rawValue.slice(0, lengthMax - length), charset))) {
      if (addresses.length < addressesMax) addresses.push(address);
    }
    length += rawValue.length;
  }
  return addresses;
}

/** Nearly all fields: one address, and a name without any special character before it. */
const usual = /^([^"<>()@,;:\\[\]]{0,200})<([\w.+=-]{1,200}@[\w.-]{1,200})>$/u;

function listAddresses(value: string): readonly Address[] {
  const [, name, address] = usual.exec(value) ?? [];
  if (name !== undefined && address !== undefined) return decodeEntry({ name: name.trim(), address });
  return parseAddresses(value, { flatten: true })
    .flatMap(decodeEntry)
    .filter((one) => one.name !== '' || one.address !== '');
}

function decodeEntry({ name, address }: Address): readonly Address[] {
  const decodedName = decode(name);
  // Some programs encode the whole field, brackets and all.
  if (address === '' && decodedName !== name && decodedName.includes('@')) {
    return parseAddresses(decodedName, { flatten: true }).map((one) => ({
      name: plainLine(one.name),
      address: plainLine(one.address),
    }));
  }
  // A dot at the end belongs to the sentence around it, not to the domain (RFC 5321 section 2.3.5).
  return [{ name: decodedName, address: decode(address).replace(/\.$/u, '') }];
}

const decode = (text: string) => plainLine(text.includes('=?') ? decodeWords(text) : text);
