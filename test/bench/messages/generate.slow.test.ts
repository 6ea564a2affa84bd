/** The generated messages stay the same, byte for byte, and are what their description says. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { type GeneratedMail, generateMessages } from './generate.ts';

const checksumOf2000 = 'dabdda8b1d4a55bcdc6800f90ba1364dc4750fa1e6b51bfd309fc1dd21b4b527';
const checksumOf50WithSeed7 = 'd69eaa98b798b269f75f8f3133380627d47b34932e06376a8fb3dd17867b6960';

function checksum(messages: Iterable<GeneratedMail>): string {
  const hash = createHash('sha256');
  for (const mail of messages) hash.update(mail.bytes);
  return hash.digest('hex');
}

function shareOut(messages: readonly GeneratedMail[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of messages) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

test('the default seed gives the same 2,000 messages as ever, in the same mix', () => {
  const messages = [...generateMessages()];
  expect(checksum(messages)).toBe(checksumOf2000);
  expect(shareOut(messages)).toEqual({ plain: 1200, html: 500, attach: 200, reply: 100 });
  expect(messages.filter((mail) => mail.attachBytes > 0)).toHaveLength(200);
  expect(new Set(messages.map((mail) => mail.messageId)).size).toBe(2000);
});

test('another seed, count and address give the messages of that seed', () => {
  const options = { count: 50, seed: 7, to: 'help@example.test' };
  expect(checksum(generateMessages(options))).toBe(checksumOf50WithSeed7);
  expect(checksum(generateMessages({ ...options, seed: 8 }))).not.toBe(checksumOf50WithSeed7);
});

test('the attachment in the source is the one that the description names', () => {
  const attached = [...generateMessages({ count: 100 })].filter((mail) => mail.kind === 'attach');
  expect(attached).toHaveLength(10);
  for (const mail of attached) {
    const lastPart = Buffer.from(mail.bytes).toString('latin1').split('\n\n').at(-1) ?? '';
    const content = Buffer.from(lastPart.slice(0, lastPart.indexOf('\n--')), 'base64');
    expect(content.length).toBe(mail.attachBytes);
    expect(createHash('sha256').update(content).digest('hex')).toBe(mail.attachmentSha256);
  }
});

test('a reply names the first message of its thread, which came before it and is no reply', () => {
  const kinds = new Map<string, string>();
  for (const mail of generateMessages({ count: 400 })) {
    if (mail.replyTo !== null) {
      expect(['plain', 'html', 'attach']).toContain(kinds.get(mail.replyTo));
      expect(Buffer.from(mail.bytes).toString('latin1')).toContain(`References: ${mail.replyTo}`);
    }
    kinds.set(mail.messageId, mail.kind);
  }
});

test('every line end is a bare LF', () => {
  for (const mail of generateMessages({ count: 20 })) expect(mail.bytes.includes(0x0d)).toBe(false);
});

test('the command line writes one file a message and a manifest, and refuses a folder that exists', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'ticketmaild-generate-'));
  onTestFinished(() => rm(parent, { recursive: true }));
  const run = () =>
    promisify(execFile)(process.execPath, [
      join(import.meta.dirname, 'generate.ts'),
      join(parent, 'messages'),
      ...['--count', '50', '--seed', '7', '--to', 'help@example.test'],
    ]);
  expect((await run()).stdout).toContain(checksumOf50WithSeed7);
  expect(await readdir(join(parent, 'messages'))).toHaveLength(51);
  const manifest: unknown = JSON.parse(await readFile(join(parent, 'messages', 'manifest.json'), 'utf8'));
  expect(manifest).toHaveLength(50);
  await expect(run()).rejects.toThrow(/EEXIST/);
});
