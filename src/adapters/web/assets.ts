/**
 * Static assets of the admin page: style, script and icon, read and compressed once, with a version from their content.
 *
 * A URL with the current version is cached for ever, any other is revalidated (RFC 9111, RFC 8246). Pages are not
 * compressed: they hold the CSRF token beside text that a stranger chose, and the length would reveal it (BREACH).
 */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import type { Context } from 'hono';
import type { NodeEnv } from '../http/http-server.ts';

type Asset = {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** RFC 1952. */
  readonly gzipped: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  readonly etag: string;
};

export type Assets = {
  /** Changes with any of them. */
  readonly version: string;
  /** By path, as `/admin/assets/admin.css`. */
  readonly byPath: ReadonlyMap<string, Asset>;
};

const contentTypes = {
  'admin.css': 'text/css; charset=utf-8',
  'admin.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
} as const;

export async function readAssets(): Promise<Assets> {
  const whole = createHash('sha256');
  const byPath = new Map<string, Asset>();
  for (const [name, contentType] of Object.entries(contentTypes)) {
    const bytes = await readFile(new URL(`assets/${name}`, import.meta.url));
    whole.update(`${name}\0${bytes.length}\0`).update(bytes);
    byPath.set(`/admin/assets/${name}`, { bytes, gzipped: gzipSync(bytes), contentType, etag: `"${digest(bytes)}"` });
  }
  return { version: whole.digest('hex').slice(0, 16), byPath };
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('base64url').slice(0, 22);
}

const forever = 'private, max-age=31536000, immutable';

export function sendAsset(asset: Asset, { version }: Assets, request: Context<NodeEnv>): Response {
  const { url = '', headers } = request.env.incoming;
  request.header('etag', asset.etag);
  request.header('cache-control', url.endsWith(`?v=${version}`) ? forever : 'no-cache');
  if (headers['if-none-match'] === asset.etag) return request.body(null, 304);
  request.header('content-type', asset.contentType);
  request.header('vary', 'accept-encoding');
  const acceptsGzip = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i.test(`${headers['accept-encoding'] ?? ''}`);
  if (acceptsGzip) request.header('content-encoding', 'gzip');
  return request.body(acceptsGzip ? asset.gzipped : asset.bytes);
}
