/**
 * A command that lets a person sign in, and that person: reads what the command prints, signs in at the provider with
 * another browser, and brings the answer back by each way.
 */
import { PassThrough } from 'node:stream';
import { expect } from 'vitest';
import { visitProvider } from '../../support/oauth/person.ts';
import type { TestProvider } from '../../support/oauth/provider.ts';
import { until } from '../../support/promises.ts';
import { type Ran, startInProcess } from '../command-line.ts';

export type SignInWay = 'device' | 'paste' | 'browser';

export type SignIn = {
  readonly env: Readonly<Record<string, string>>;
  readonly provider: TestProvider;
  readonly way: SignInWay;
  /** Who signs in. */
  readonly user: string;
  readonly denies?: boolean;
  /** Changes the address that the browser ends at. */
  readonly alter?: (answer: string) => string;
};

/** `answer`: the address that the browser ended at; '' by a device. */
export type SignedIn = Ran & { readonly answer: string };

/** Runs the command line with `--WAY` while the person signs in. */
export async function runWithPerson(args: readonly string[], signIn: SignIn): Promise<SignedIn> {
  const { env, way } = signIn;
  const input = new PassThrough();
  const command = startInProcess([...args, `--${way}`], { env, input });
  const answer = await Promise.race([actAsPerson(command.err, input, signIn), command.end.then(() => '')]);
  return { ...(await command.end), answer };
}

async function actAsPerson(printed: () => string, input: PassThrough, signIn: SignIn): Promise<string> {
  const { provider, way, user, denies = false, alter = (answer) => answer } = signIn;
  const options = { caPem: provider.caPem, denies };
  if (way === 'device') {
    const [, address, code] = await until('address and code', () => /\n {2}(http\S+)\n {2}(\S+)\n/.exec(printed()));
    await visitProvider(`${address}?user_code=${code}`, user, options);
    return '';
  }
  const [, url = ''] = await until('the address', () => /^(https:\S+)$/m.exec(printed()));
  if (way === 'browser') await until('the listener', () => /at port \d+/.exec(printed()));
  const ending = await visitProvider(url, user, options);
  const answer = alter(ending.kind === 'address' ? ending.answer : ending.heading);
  if (way === 'paste') input.end(`${answer}\n`);
  else await bringBrowser(answer);
  return answer;
}

async function bringBrowser(answer: string): Promise<void> {
  const foreign = new URL(answer);
  foreign.searchParams.set('state', 'of-another-program');
  expect((await fetch(foreign)).status).toBe(404);
  const page = await fetch(answer);
  expect(await page.text()).toContain('Back to the terminal');
  expect(page.headers.get('referrer-policy')).toBe('no-referrer');
  expect(page.headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'");
}
