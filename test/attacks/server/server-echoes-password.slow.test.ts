/**
 * A mail server sends the password, or the access token, back during the login, in any of its texts: no copy of it
 * stays in the memory of the daemon, whatever becomes of the login.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  converse,
  type Script,
  type ScriptedServer,
  startScriptedServer,
} from '../../adapters/imap/scripted-server.ts';
import { newCanary } from '../../support/leaks/canary.ts';
import { type EchoLogin, mask } from '../../support/leaks/echo-login.ts';
import { searchMemory, smallCore } from '../../support/leaks/memory-search.ts';
import { readCertificates } from '../../support/servers/authority.ts';
import { ended } from '../../support/servers/programs.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';

/** What the server sends once it has the password; `echo` is a form of it. */
type Answer = (tag: string, echo: string) => readonly string[];

const answers: readonly (readonly [string, Answer, result: string])[] = [
  ['the text of the OK', (tag, echo) => [`${tag} OK welcome ${echo}`], 'open'],
  ['an ALERT', (tag, echo) => [`* OK [ALERT] your password is ${echo}`, `${tag} OK`], 'open'],
  ['CAPABILITY', (tag, echo) => [`* CAPABILITY IMAP4rev1 X-${echo}`, `${tag} OK`], 'open'],
  ['the code of the OK', (tag, echo) => [`${tag} OK [CAPABILITY IMAP4rev1 X-${echo}] done`], 'open'],
  ['a NO', (tag, echo) => [`${tag} NO ${echo} is wrong`], 'login_refused'],
  ['a BAD', (tag, echo) => [`${tag} BAD ${echo}`], 'server_refused'],
  ['a BYE', (_, echo) => [`* BYE ${echo}`], 'server_busy'],
  ['another challenge', (tag, echo) => [`+ ${echo}`, `${tag} NO no`], 'login_refused'],
  ['a literal', (tag, echo) => [`* OK {${echo.length}}`, `${echo}`, `${tag} OK`], 'open'],
];

const forms: Readonly<Record<string, (password: Buffer) => string>> = {
  clear: (password) => password.toString('latin1'),
  base64: (password) => password.toString('base64'),
  SASL: (password) => Buffer.concat([Buffer.from('\0ada\0'), password]).toString('base64'),
};

const formsOfToken: typeof forms = {
  clear: forms['clear'] as never,
  'cut short': (token) => token.toString('latin1', 0, 300),
  SASL: (token) => Buffer.from(`user=ada\x01auth=Bearer ${token.toString('latin1')}\x01\x01`).toString('base64'),
};

/** A token of 1.5 KB with the canary after its first bytes, and at its end. */
function tokenAround(canary: Uint8Array): Buffer {
  return Buffer.concat([newCanary(32), canary, newCanary(1400), canary]);
}

const holder = spawn(process.execPath, [...smallCore, `${import.meta.dirname}/../../support/leaks/echo-login.ts`], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const holderEnd = ended(holder);
let certificate: { readonly cert: Buffer; readonly key: Buffer; readonly fingerprint: string };

beforeAll(async () => {
  const files = await readCertificates(await certificatesTemplate(), 'good');
  const [cert, key] = await Promise.all([readFile(files.certificateFile), readFile(files.keyFile)]);
  certificate = { cert, key, fingerprint: files.fingerprint.replaceAll(':', '').toLowerCase() };
});

afterAll(async () => {
  holder.stdin.end();
  expect(await holderEnd).toBe(0);
});

async function loginTo(
  server: ScriptedServer,
  kind: EchoLogin['kind'],
  secret: Buffer,
  fingerprint: string | null,
): Promise<string> {
  const masked = [...secret].map((byte) => byte ^ mask);
  const line: EchoLogin = { kind, masked, port: server.port, fingerprint };
  holder.stdin.write(`${JSON.stringify(line)}\n`);
  const hasEnded = holderEnd.then((code) => [`the holder ended with ${code}`]);
  const [answer] = await Promise.race([once(holder.stdout, 'data'), hasEnded]);
  return `${answer}`.trim();
}

/** Sends `text` in two pieces, cut within the echo. */
async function sendCut(socket: { write(text: string): unknown }, text: string, at: number): Promise<void> {
  socket.write(text.slice(0, at));
  await sleep(30);
  socket.write(text.slice(at));
}

function serverThat(answer: Answer, echo: string, isCut: boolean): Script {
  return (command, _, tag, { say, next, socket }) => {
    if (command !== 'AUTHENTICATE') return false;
    say('+ ');
    next(() => {
      const text = answer(tag, echo)
        .map((line) => `${line}\r\n`)
        .join('');
      if (isCut) void sendCut(socket, text, text.indexOf(echo) + Math.floor(echo.length / 2));
      else socket.write(text);
      if (text.startsWith('* BYE')) setTimeout(() => socket.end(), 60);
    });
    return true;
  };
}

function start(script: Script, isTls: boolean): Promise<ScriptedServer> {
  const options = { capabilities: 'IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2', script };
  if (!isTls) return startScriptedServer(options);
  return startScriptedServer({}, (socket: Socket, lines) =>
    converse(new TLSSocket(socket, { isServer: true, ...certificate }), options, lines),
  );
}

/** Logs in with each secret in turn; then no copy of any is left. A canary is the same for all answers of a scene. */
async function expectNoCopy(scene: Scene, names: readonly string[]): Promise<void> {
  const { kind, form, how, pieces } = scene;
  const canary = Buffer.from(newCanary());
  const secret = kind === 'token' ? tokenAround(canary) : canary;
  const echo = (kind === 'token' ? formsOfToken : forms)[form]?.(secret) ?? '';
  for (const name of names) {
    const [, answer, result] = answers.find(([one]) => one === name) ?? [];
    if (answer === undefined) throw new Error('no such answer');
    await using server = await start(serverThat(answer, echo, pieces !== 'whole'), how !== 'in clear');
    const got = await loginTo(server, kind, secret, how === 'in clear' ? null : certificate.fingerprint);
    expect({ name, got }).toEqual({ name, got: result });
  }
  await sleep(50);
  expect((await searchMemory(holder.pid ?? -1, canary)).hits).toEqual([]);
}

type Scene = {
  readonly kind: EchoLogin['kind'];
  readonly form: string;
  readonly how: string;
  readonly pieces: string;
};

const names = answers.map(([name]) => name);
const kinds = [
  ...Object.keys(forms).map((form) => ({ kind: 'password', form }) as const),
  ...Object.keys(formsOfToken).map((form) => ({ kind: 'token', form }) as const),
];

describe.each(['in clear', 'over TLS'])('%s', (how) => {
  describe.each(['whole', 'cut in two'])('%s', (pieces) => {
    // One search of the memory, which takes a second, after all answers.
    test.each(kinds)('a $kind, $form, in every answer', async ({ kind, form }) => {
      await expectNoCopy({ kind, form, how, pieces }, names);
    });

    test.each(kinds.flatMap((one) => names.map((name) => ({ ...one, name }))))(
      'a $kind, $form, in $name alone',
      { tags: ['long'] },
      async ({ kind, form, name }) => {
        await expectNoCopy({ kind, form, how, pieces }, [name]);
      },
    );
  });
});
