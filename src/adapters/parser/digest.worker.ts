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
import { zstdCompressSync } from 'node:zlib';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { isFailure } from '../../errors.ts';
import type { Digested } from '../../ingest/ports.ts';
import type { ParsedMessage } from '../../mail/message.ts';
import { parseMessage } from '../../mail/parse.ts';

// Threads are ended, and do not come to the end where it would be written.
flushCompileCache();

type Source = Uint8Array<ArrayBuffer>;

/** Resolves with a `Digested` for each source, in order. Rejects only for what is a defect of ours. */
export async function digest(sources: readonly Source[]): Promise<unknown> {
  const digests: Digested[] = [];
  const buffers = new Set<ArrayBufferLike>();
  for (const source of sources) {
    const digested = await digestOne(source);
    source.buffer.transfer(0);
    buffers.add(digested.compressed.buffer);
    if (digested.ok) for (const { content } of digested.parsed.attachments) buffers.add(content.buffer);
    digests.push(digested);
  }
  return move({ [transferableSymbol]: [...buffers], [valueSymbol]: digests } as never);
}

async function digestOne(source: Source): Promise<Digested> {
  const parsed = await parseOrNull(source);
  const compressed = new Uint8Array(zstdCompressSync(source, { pledgedSrcSize: source.length }));
  const raw = { compressed, sha256: hash('sha256', source, 'hex') };
  return parsed === null ? { ok: false, reason: 'parse_failed', ...raw } : { ok: true, parsed, ...raw };
}

async function parseOrNull(source: Source): Promise<ParsedMessage | null> {
  try {
    return await parseMessage(source);
  } catch (error) {
    if (isFailure(error, 'parse_failed')) return null;
    throw error;
  }
}
