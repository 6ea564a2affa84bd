/** A command that lets a person sign in, with that person at its terminal (support/oauth/terminal-person.ts). */
import { PassThrough } from 'node:stream';
import { expect } from 'vitest';
import { type PersonAtTerminal, type SignInWay, signInAt } from '../../support/oauth/terminal-person.ts';
import { type Ran, startInProcess } from '../command-line.ts';

export type { SignInWay };

export type SignIn = PersonAtTerminal & { readonly env: Readonly<Record<string, string>> };

/** `answer`: the address that the browser ended at; '' by a device. */
export type SignedIn = Ran & { readonly answer: string };

/** Runs the command line with `--WAY` while the person signs in. */
export async function runWithPerson(args: readonly string[], signIn: SignIn): Promise<SignedIn> {
  const { env, way } = signIn;
  const input = new PassThrough();
  const command = startInProcess([...args, `--${way}`], { env, input });
  const paste = (line: string): void => void input.end(`${line}\n`);
  const terminal = { printed: command.err, paste, browse: bringBrowser };
  const answer = await Promise.race([signInAt(terminal, signIn), command.end.then(() => '')]);
  return { ...(await command.end), answer };
}

/** An answer with another state changes nothing. */
async function bringBrowser(answer: string): Promise<void> {
  const foreign = new URL(answer);
  foreign.searchParams.set('state', 'of-another-program');
  expect((await fetch(foreign)).status).toBe(404);
  const page = await fetch(answer);
  expect(await page.text()).toContain('Back to the terminal');
  expect(page.headers.get('referrer-policy')).toBe('no-referrer');
  expect(page.headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'");
}
