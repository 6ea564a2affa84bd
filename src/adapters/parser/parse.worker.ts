/**
 * Parser worker thread: sources in, parsed messages out, without I/O. A hang or a memory leak costs this thread and one
 * message.
 *
 * Results are transferred, not copied. A source is freed at once (detached), because the garbage collector sees only
 * its small handle and would let many of them accumulate.
 *
 * The memory limit of the thread covers the V8 heap, not the contents of attachments. These are bounded by the source:
 * no transfer encoding expands it; unpacked parts are attached beside their container (up to three nested signed
 * envelopes, a partly readable winmail.dat, embedded messages re-encoded in base64), and compressed text of a
 * winmail.dat expands to 8 MB at most.
 */
import { hash } from 'node:crypto';
import { flushCompileCache } from 'node:module';
import { constants, zstdCompressSync } from 'node:zlib';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { detach } from '../../async/buffer-pool.ts';
import { isFailure } from '../../errors.ts';
import type { CompressedSource } from '../../ingest/ports.ts';
import { type FingerprintedMessage, fingerprintMessage } from '../../mail/fingerprint.ts';
import { parseMessage } from '../../mail/parse.ts';

// The thread is terminated, so the cache is not written at exit.
flushCompileCache();

type Source = Uint8Array;
/** `isCompressed`: the caller has the compressed source already. */
export type ParseBatch = { readonly sources: readonly Source[]; readonly isCompressed: boolean };
export type ParseReply =
  | (FingerprintedMessage & { readonly ok: true })
  | { readonly ok: false; readonly reason: 'parse_failed' };
/** A library is missing: no statement about the message. */
export type ParserUnavailable = { readonly ok: false; readonly reason: 'parser_unavailable' };

/** More than zstd adds to incompressible input (RFC 8878 section 3.1.1). */
const frameBytesMax = 1024;

/** One reply per source, in order. Rejects only on a defect. */
export async function parseSources({ sources, isCompressed }: ParseBatch): Promise<unknown> {
  const replies: (ParseReply | ParserUnavailable)[] = [];
  const buffers = new Set<ArrayBufferLike>();
  for (const source of sources) {
    const reply = await parsed(source);
    const raw = isCompressed ? null : compress(source);
    detach(source);
    if (raw !== null) buffers.add(raw.compressed.buffer);
    if (reply.ok) for (const { content } of reply.parsed.attachments) buffers.add(content.buffer);
    replies.push({ ...reply, ...raw });
  }
  return move({ [transferableSymbol]: [...buffers], [valueSymbol]: replies } as never);
}

/** Level 1 takes 25 % less time than the default 3 and 0.5 % more space. One output chunk avoids a copy. */
function compress(source: Source): CompressedSource {
  const params = { [constants.ZSTD_c_compressionLevel]: 1 };
  const options = { params, pledgedSrcSize: source.length, chunkSize: source.length + frameBytesMax };
  const compressed = new Uint8Array(zstdCompressSync(source, options));
  return { compressed, sha256: hash('sha256', source, 'hex') };
}

async function parsed(source: Source): Promise<ParseReply | ParserUnavailable> {
  try {
    return { ok: true, ...fingerprintMessage(await parseMessage(source)) };
  } catch (error) {
    if (isFailure(error, 'parse_failed')) return { ok: false, reason: 'parse_failed' };
    if (isFailure(error, 'parser_unavailable')) return { ok: false, reason: 'parser_unavailable' };
    throw error;
  }
}
