/**
 * Sign-in of a person from a terminal: device code (RFC 8628), pasted address, or a browser that ends on loopback.
 *
 * Instructions go to standard error. With a pasted address nothing listens: the browser ends at an address of this
 * machine that does not answer, and the person copies it here, where it is not shown. Ctrl-C leaves nothing behind.
 */
import type { App } from '../../compose/compose.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { wholeNumber } from '../../config/option-values.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { ConsentRequest, DeviceConsent, ObtainedConsent } from '../../oauth/consent.ts';
import type { Context } from '../context.ts';

export type ConsentWay = 'device' | 'paste' | 'browser';

/** Options of every command that lets a person sign in. */
export type ConsentOptions = {
  readonly device?: boolean;
  readonly paste?: boolean;
  readonly browser?: boolean;
  /** Of the listener of `--browser`. */
  readonly browserPort?: string;
};

/** `way` null: by a device code where the provider has it for mail, else by a pasted address. */
export type ChosenWay = { readonly way: ConsentWay | null; readonly port: number };

type Terminal = Pick<Context, 'terminal' | 'signal'>;

/** Throws `usage`. */
export function chosenWay({ device, paste, browser, browserPort: port }: ConsentOptions): ChosenWay {
  const given = { device, paste, browser };
  const [way = null, other] = (['device', 'paste', 'browser'] as const).filter((one) => given[one] === true);
  if (other !== undefined) throw new Failure('usage', `--${way} and --${other} exclude each other`);
  if (port !== undefined && way !== 'browser') throw new Failure('usage', '--browser-port is that of --browser');
  return { way, port: port === undefined ? 0 : wholeNumber('--browser-port', port, 1, 65_535) };
}

/**
 * Lets the person sign in, and returns what was consented to: the caller stores it, and disposes of it. Throws
 * `oauth_*`, `key_*`, `usage`, `refused`, `interrupted`.
 */
export async function promptConsent(
  { oauth }: Pick<App, 'oauth'>,
  request: ConsentRequest,
  { way, port }: ChosenWay,
  context: Terminal,
): Promise<ObtainedConsent> {
  const { kind } = request.provider;
  if (way === 'browser') return await byBrowser(oauth, request, port, context);
  if (way === 'paste') return await byPaste(oauth, request, context);
  if (!isDeviceForMail(request.provider)) {
    if (way === null) return await byPaste(oauth, request, context);
    const hint = 'Leave --device out: the address for a browser is printed then.';
    throw new Failure('usage', `there is no device code for mail at ${kind === 'google' ? 'Google' : 'Yahoo'}`, {
      hint,
    });
  }
  let device: DeviceConsent;
  try {
    device = await oauth.consents.beginDevice(request, context.signal);
  } catch (error) {
    // The provider announces no endpoint for it.
    if (way === null && isFailure(error, 'config_invalid')) return await byPaste(oauth, request, context);
    throw error;
  }
  return await byDevice(device, context);
}

/** Google grants no mail scope to a device, and Yahoo has no such endpoint. */
function isDeviceForMail({ kind, endpoints }: OAuthProvider): boolean {
  return endpoints.device !== null || (kind !== 'google' && kind !== 'yahoo');
}

const tickMs = 1000;

async function byDevice(device: DeviceConsent, { terminal, signal }: Terminal): Promise<ObtainedConsent> {
  terminal.note('Open this address in a browser on any machine, and enter the code:');
  terminal.note(`  ${device.verificationUri}`, 'bold');
  terminal.note(`  ${device.userCode}`, 'bold');
  const untilMs = performance.now() + device.expiresInMs;
  const show = (): void => terminal.stage(`waiting for the sign-in: ${minutesText(untilMs - performance.now())} left`);
  show();
  const timer = setInterval(show, tickMs);
  try {
    return await device.finish(signal);
  } finally {
    clearInterval(timer);
    terminal.stage('');
  }
}

function minutesText(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

const callbackPath = '/oauth/callback';
/** A code may be long: Microsoft's have more than 1 KB. */
const pastedAddress = { noun: 'address', bytesMax: 16_384 };

async function byPaste(oauth: App['oauth'], request: ConsentRequest, context: Terminal): Promise<ObtainedConsent> {
  const { terminal, signal } = context;
  const redirectUri = redirectAddress(request.provider, null);
  const { url, finish } = await oauth.consents.beginBrowser(request, redirectUri);
  terminal.note('Open this address in a browser on any machine, and sign in:');
  terminal.note(url, 'bold');
  terminal.note(`The browser ends at an address that begins with ${redirectUri} and shows an error: that is expected.`);
  using answer = await terminal.readSecret('Paste that whole address here (it is not shown): ', pastedAddress);
  return await finish(
    answer.use((bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')),
    signal,
  );
}

async function byBrowser(
  oauth: App['oauth'],
  request: ConsentRequest,
  port: number,
  { terminal, signal }: Terminal,
): Promise<ObtainedConsent> {
  await using listener = await oauth.listenForRedirect(port);
  const { url, state, finish } = await oauth.consents.beginBrowser(
    request,
    redirectAddress(request.provider, listener.port),
  );
  terminal.note('Open this address in a browser on this machine, or on one that forwards the port, and sign in:');
  terminal.note(url, 'bold');
  terminal.note(
    `The browser is waited for at port ${listener.port} of this machine (forward: ssh -L ${listener.port}:localhost:${listener.port}).`,
  );
  const answer = await listener.answer(state, signal);
  return await finish(answer, signal);
}

/**
 * The address that the registration of the application lists, with any port (RFC 8252 section 7.3); Microsoft compares
 * so for `localhost` alone.
 */
function redirectAddress({ kind }: OAuthProvider, port: number | null): string {
  const host = kind === 'microsoft' ? 'localhost' : '127.0.0.1';
  return `http://${host}${port === null ? '' : `:${port}`}${callbackPath}`;
}
