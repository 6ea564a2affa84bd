/**
 * Display form of mailbox settings: the server that gets a password, as text that no user or host name can forge, and
 * the effect of a post-action.
 */
import { createHash } from 'node:crypto';
import { domainToASCII } from 'node:url';
import type { Connection, PostAction } from './model.ts';

/** As many as a key id has: no other certificate with the same beginning can be made. */
const shownPinDigits = 16;

/** `user at host:port (TLS implicit, certificate pinned sha256 0123456789abcdef…, own CA sha256 …)`. */
export function serverText(connection: Connection): string {
  const { user, host, port } = connection;
  const shown = asciiHost(host);
  const address = shown.includes(':') ? `[${shown}]` : shown;
  return `${asciiUser(user)} at ${address}:${port} (${trustText(connection)})`;
}

/** ASCII form for the DNS (RFC 5891): letters of another script may look the same. */
function asciiHost(host: string): string {
  if (/^[!-~]+$/.test(host)) return quotedIfAmbiguous(host);
  const ascii = domainToASCII(host);
  return ascii === '' ? asciiJson(host) : ascii;
}

function asciiUser(user: string): string {
  return isAscii(user) ? quotedIfAmbiguous(user) : asciiJson(user);
}

/**
 * A name of a mailbox or folder. One with other letters than ASCII is followed by their escapes: letters of two scripts
 * may look the same (UTS 39 section 4).
 */
export function nameText(name: string): string {
  return isAscii(name) ? name : `${name} (${asciiJson(name)})`;
}

function isAscii(text: string): boolean {
  return /^\p{ASCII}*$/u.test(text);
}

/** A JSON string whose UTF-16 units beyond ASCII are `\u` escapes. */
function asciiJson(text: string): string {
  return JSON.stringify(text).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** In quotation marks if it could be read as more than one word. */
function quotedIfAmbiguous(word: string): string {
  return /[\s()"\p{C}]/u.test(word) ? JSON.stringify(word) : word;
}

function trustText({ tls, fingerprint, caPem }: Connection): string {
  const parts = [
    tls === 'none' ? 'no TLS' : `TLS ${tls}`,
    fingerprint !== null && `certificate pinned sha256 ${fingerprint.slice(0, shownPinDigits)}…`,
    caPem !== null && `own CA sha256 ${caDigest(caPem).slice(0, shownPinDigits)}…`,
  ];
  return parts.filter((part) => part !== false).join(', ');
}

const certificateBlock = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g;

/** SHA-256 of the certificates (DER), for one its fingerprint; of the whole text if it contains anything else. */
function caDigest(pem: string): string {
  const isPlain = pem.replace(certificateBlock, '').trim() === '';
  const blocks = [...pem.matchAll(certificateBlock)].map(([, base64 = '']) => Buffer.from(base64, 'base64'));
  return createHash('sha256')
    .update(isPlain ? Buffer.concat(blocks) : pem)
    .digest('hex');
}

/** What each post-action does on the server, one clause. */
export const postActionEffects: Readonly<Record<PostAction['kind'], string>> = {
  seen: 'each stored message is marked as read',
  move: 'each stored message is moved there',
  delete: 'each stored message is deleted from the folder',
  leave: 'nothing is changed on the server',
};
