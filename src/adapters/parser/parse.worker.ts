/**
 * Runs in a worker thread: sources in, parsed messages out. Pure computation; a hang or a memory hole in here costs
 * this thread and the one message, nothing else. Buffers are moved back, not copied; a source is freed at once (a
 * transfer to nothing), because the collector, which sees only its small handle, would let many of them pile up.
 *
 * The memory limit of a thread bounds what V8 manages, not the contents of attachments, which are as large as the rules
 * let them be: no transfer encoding makes more of a mail than it is; what is unpacked is attached beside what holds it
 * (signed envelopes, up to three in each other; a winmail.dat that is not wholly read; mails within one, which are
 * written anew in base64), and text compressed in a winmail.dat grows to 8 MB at most.
 */
import { hash } from 'node:crypto';
import { flushCompileCache } from 'node:module';
import { constants, zstdCompressSync } from 'node:zlib';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { detach } from '../../async/buffer-pool.ts';
import { isFailure } from '../../errors.ts';
import { type FingerprintedMessage, fingerprintMessage } from '../../mail/fingerprint.ts';
import { parseMessage } from '../../mail/parse.ts';
import type { Compressed } from './compress.ts';

// Threads are ended, and do not come to the end where it would be written.
flushCompileCache();

type Source = Uint8Array;
/** `isCompressed`: that was done elsewhere. */
export type Portion = { readonly sources: readonly Source[]; readonly isCompressed: boolean };
export type Parsed =
  | (FingerprintedMessage & { readonly ok: true })
  | { readonly ok: false; readonly reason: 'parse_failed' };
/** Says nothing of the mail: a library is missing. */
export type Unavailable = { readonly ok: false; readonly reason: 'parser_unavailable' };

/** More than zstd adds to what it cannot compress (RFC 8878 section 3.1.1). */
const frameBytesMax = 1024;

/** Resolves with a `Parsed`, or a `Digested`, for each source, in order. Rejects only for what is a defect of ours. */
export async function digest({ sources, isCompressed }: Portion): Promise<unknown> {
  const answers: (Parsed | Unavailable)[] = [];
  const buffers = new Set<ArrayBufferLike>();
  for (const source of sources) {
    const answer = await parsed(source);
    const raw = isCompressed ? null : compress(source);
    detach(source);
    if (raw !== null) buffers.add(raw.compressed.buffer);
    if (answer.ok) for (const { content } of answer.parsed.attachments) buffers.add(content.buffer);
    answers.push({ ...answer, ...raw });
  }
  return move({ [transferableSymbol]: [...buffers], [valueSymbol]: answers } as never);
}

/** Level 1 takes a quarter less time than the usual 3, and half a percent more room; a piece that holds all is not joined. */
function compress(source: Source): Compressed {
  const params = { [constants.ZSTD_c_compressionLevel]: 1 };
  const options = { params, pledgedSrcSize: source.length, chunkSize: source.length + frameBytesMax };
  const compressed = new Uint8Array(zstdCompressSync(source, options));
  return { compressed, sha256: hash('sha256', source, 'hex') };
}

async function parsed(source: Source): Promise<Parsed | Unavailable> {
  try {
    return { ok: true, ...fingerprintMessage(await parseMessage(source)) };
  } catch (error) {
    if (isFailure(error, 'parse_failed')) return { ok: false, reason: 'parse_failed' };
    if (isFailure(error, 'parser_unavailable')) return { ok: false, reason: 'parser_unavailable' };
    throw error;
  }
}
