/**
 * A person at a terminal: reads what a command prints for a sign-in, signs in at the provider with a browser elsewhere,
 * and brings the answer back by each way.
 */
import { until } from '../promises.ts';
import { visitProvider } from './person.ts';
import type { TestProvider } from './provider.ts';

export type SignInWay = 'device' | 'paste' | 'browser';

export type PersonAtTerminal = {
  readonly provider: Pick<TestProvider, 'caPem'>;
  readonly way: SignInWay;
  /** Who signs in. */
  readonly user: string;
  readonly denies?: boolean;
  /** Changes the address that the browser ends at. */
  readonly alter?: (answer: string) => string;
};

/** What the command printed so far, how a line is pasted, and how a browser opens the address that it ends at. */
export type TerminalOf = {
  readonly printed: () => string;
  readonly paste: (line: string) => void;
  readonly browse: (address: string) => Promise<void>;
};

/** Returns the address that the browser ended at; '' by a device. */
export async function signInAt(terminal: TerminalOf, person: PersonAtTerminal): Promise<string> {
  const { printed, paste, browse } = terminal;
  const { provider, way, user, denies = false, alter = (answer) => answer } = person;
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
  if (way === 'paste') paste(answer);
  else await browse(answer);
  return answer;
}
