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

describe.each(['in clear', 'over TLS'])('%s', (how) => {
  describe.each(['whole', 'cut in two'])('%s', (pieces) => {
    test.each(Object.keys(forms).flatMap((form) => answers.map(([name]) => [form, name] as const)))(
      '%s in %s',
      async (form, name) => {
        const [, answer, result] = answers.find(([one]) => one === name) ?? answers[0] ?? [];
        if (answer === undefined) throw new Error('no such answer');
        const canary = Buffer.from(newCanary());
        const echo = forms[form]?.(canary) ?? '';
        await using server = await start(serverThat(answer, echo, pieces !== 'whole'), how !== 'in clear');
        const got = await loginTo(server, 'password', canary, how === 'in clear' ? null : certificate.fingerprint);
        await sleep(50);
        const found = await searchMemory(holder.pid ?? -1, canary);
        expect(got).toBe(result);
        expect(found.hits).toEqual([]);
      },
    );

    test.each(Object.keys(formsOfToken).flatMap((form) => answers.map(([name]) => [form, name] as const)))(
      'a token: %s in %s',
      // One combination in every run, each second of which is a core dump; all four in the long one.
      { tags: how === 'in clear' && pieces === 'whole' ? [] : ['long'] },
      async (form, name) => {
        const [, answer, result] = answers.find(([one]) => one === name) ?? answers[0] ?? [];
        if (answer === undefined) throw new Error('no such answer');
        const canary = newCanary();
        const token = tokenAround(canary);
        const echo = formsOfToken[form]?.(token) ?? '';
        await using server = await start(serverThat(answer, echo, pieces !== 'whole'), how !== 'in clear');
        const got = await loginTo(server, 'token', token, how === 'in clear' ? null : certificate.fingerprint);
        await sleep(50);
        const found = await searchMemory(holder.pid ?? -1, canary);
        expect(got).toBe(result);
        expect(found.hits).toEqual([]);
      },
    );
  });
});
