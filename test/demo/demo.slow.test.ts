/** End-to-end test of the demo: its output, its end with --once or on Ctrl-C, and that no file or process remains. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { runMeasured } from '../support/processes/child.ts';
import { runFolderVariable, temporaryFolder } from '../support/temporary.ts';

const demoFile = join(import.meta.dirname, 'demo.ts');
const mainFile = join(import.meta.dirname, '../../src/ticketmaild.js');
const timeoutMs = 60_000;

type Demo = {
  readonly child: ChildProcess;
  /** Everything it printed so far. */
  output(): string;
  /** Resolves once it has printed `text`; fails when it ends before. */
  printed(text: string): Promise<void>;
  /** Exit code or signal. */
  readonly ending: Promise<number | string>;
  /** The folder for everything temporary of the demo. */
  readonly folder: string;
};

async function startDemo(...args: readonly string[]): Promise<Demo> {
  const folder = await temporaryFolder('demo-test');
  const child = spawn(process.execPath, [demoFile, ...args], { env: { [runFolderVariable]: folder.path } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => (output += piece));
  }
  const ending = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'nothing'));
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ending;
    await folder[Symbol.asyncDispose]();
  });
  const printed = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = (): void => (output.includes(text) ? resolve() : undefined);
      child.stdout.on('data', look);
      look();
      void ending.then((how) => reject(new Error(`the demo ended (${how}) before it printed ${text}:\n${output}`)));
    });
  return { child, output: () => output, printed, ending, folder: folder.path };
}

/** The health port that the demo showed. */
function healthPort(output: string): number {
  return Number(/Health: http:\/\/127\.0\.0\.1:(\d+)\//.exec(output)?.[1]);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** The reference in front of the line about `subject`, and what happened to it. */
function ticketLine(output: string, subject: string): { readonly ref: string; readonly happened: string } {
  const line = output.split('\n').find((one) => one.includes(`  ${subject}  `)) ?? '';
  return { ref: line.split(' ')[0] ?? '', happened: line.split(/ {2,}/).at(-1) ?? '' };
}

test(
  'the demo turns its seven messages into five tickets, a reply and a bounce, and leaves nothing behind',
  async () => {
    const demo = await startDemo('--once');
    expect([await demo.ending, demo.output()]).toEqual([0, expect.any(String)]);
    const output = demo.output();
    const first = ticketLine(output, 'Printer on floor 3 jams');
    expect(first).toEqual({ ref: expect.stringMatching(/^\S+$/), happened: 'new ticket' });
    expect(ticketLine(output, 'Re: Printer on floor 3 jams')).toEqual({
      ref: first.ref,
      happened: 'reply',
    });
    expect(ticketLine(output, 'Undelivered Mail Returned to Sender')).toEqual({
      ref: first.ref,
      happened: 'bounce',
    });
    const opened = {
      'Where is my order from last week? 📦': 'new ticket',
      'Delivery incomplete': 'new ticket',
      プリンターが紙詰まりします: 'new ticket',
      'VPN drops every hour': 'new ticket',
    };
    const refs = Object.entries(opened).map(([subject, happened]) => {
      const line = ticketLine(output, subject);
      expect(line.happened).toBe(happened);
      return line.ref;
    });
    expect(new Set([first.ref, ...refs]).size).toBe(5);
    expect(output).toContain(`\n${' '.repeat(15)}with delivery.csv\n`);
    // It ends at once: no address, no command, no line of a log.
    expect(output).not.toMatch(/readyz|ticketmaild |[{}]/);
    expect(output).not.toContain('daemon: ');
    expect(output).not.toContain('\u001b');
    expect(await readdir(demo.folder)).toEqual([]);
  },
  timeoutMs,
);

test(
  'while the demo runs its next commands work in another terminal, and Ctrl-C ends it with exit code 0',
  async () => {
    const demo = await startDemo();
    await demo.printed('Ctrl-C ends it.');
    const commands = [...demo.output().matchAll(/^ {2}src\/ticketmaild (.*)/gm)].map((match) => match[1] ?? '');
    const [, configFile = ''] = /^ {2}export TICKETMAILD_CONFIG=(.*)$/m.exec(demo.output()) ?? [];
    expect(commands.length).toBeGreaterThan(3);
    const [, admin = ''] = /Admin page: (http:\S+)/.exec(demo.output()) ?? [];
    expect(await (await fetch(admin)).text()).toContain('<span>src/ticketmaild</span> <span>admin</span>');
    for (const command of commands) {
      // It asks for a password at the terminal, which this test does not have.
      const asks = command.startsWith('admin add');
      const args = [mainFile, ...command.split(' '), ...(asks ? ['--password-stdin'] : [])];
      const env = { TICKETMAILD_CONFIG: configFile };
      const { stdout } = await runMeasured(args, asks ? { env, input: 'a password of the demo\n' } : { env });
      expect(stdout).not.toBe('');
    }
    const port = healthPort(demo.output());
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);
    expect(await (await fetch(admin)).text()).toContain('Sign in');
    demo.child.kill('SIGINT');
    // Under npm one Ctrl-C arrives twice.
    demo.child.kill('SIGINT');
    expect([await demo.ending, demo.output()]).toEqual([0, expect.any(String)]);
    expect(await answers(port)).toBe(false);
    expect(await readdir(demo.folder)).toEqual([]);
  },
  timeoutMs,
);

test('a wrong option ends the demo with exit code 2 and the usage', async () => {
  const demo = await startDemo('--twice');
  expect(await demo.ending).toBe(2);
  expect(demo.output()).toContain('usage: npm run demo');
});
