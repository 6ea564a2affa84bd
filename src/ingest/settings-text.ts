/**
 * Display form of mailbox settings: the server that gets a password, as text that no user or host name can forge, and
 * the effect of a post-action.
 */
import { domainToASCII } from 'node:url';
import type { Connection, PostAction } from './model.ts';

/** As many as a key id has: no other certificate with the same beginning can be made. */
const shownPinDigits = 16;

/** `user at host:port (TLS implicit, certificate pinned sha256 0123456789abcdef…, own CA)`. */
export function serverText(connection: Connection): string {
  const { user, host, port } = connection;
  const shown = asciiHost(host);
  const address = shown.includes(':') ? `[${shown}]` : shown;
  return `${quotedIfAmbiguous(user)} at ${address}:${port} (${trustText(connection)})`;
}

/** ASCII form for the DNS (RFC 5891): letters of another script may look the same. */
function asciiHost(host: string): string {
  if (/^[!-~]+$/.test(host)) return quotedIfAmbiguous(host);
  const ascii = domainToASCII(host);
  return ascii === '' ? JSON.stringify(host) : ascii;
}

/** In quotation marks if it could be read as more than one word. */
function quotedIfAmbiguous(word: string): string {
  return /[\s()"\p{C}]/u.test(word) ? JSON.stringify(word) : word;
}

function trustText({ tls, fingerprint, caPem }: Connection): string {
  const parts = [
    tls === 'none' ? 'no TLS' : `TLS ${tls}`,
    fingerprint !== null && `certificate pinned sha256 ${fingerprint.slice(0, shownPinDigits)}…`,
    caPem !== null && 'own CA',
  ];
  return parts.filter((part) => part !== false).join(', ');
}

/** What each post-action does on the server, one clause. */
export const postActionEffects: Readonly<Record<PostAction['kind'], string>> = {
  seen: 'each stored message is marked as read',
  move: 'each stored message is moved there',
  delete: 'each stored message is deleted from the folder',
  leave: 'nothing is changed on the server',
};
