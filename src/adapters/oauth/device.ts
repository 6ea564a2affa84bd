/**
 * Device authorization grant (RFC 8628): a code to enter elsewhere, and polling until the person has signed in.
 *
 * Polls at the interval of the provider, five seconds slower after each `slow_down`, and continues after failures of
 * the network (section 3.5). The device code is a secret of its own until the end.
 */
import {
  type DeviceAuthorizationResponse,
  deviceAuthorizationRequest,
  deviceCodeGrantRequest,
  processDeviceAuthorizationResponse,
  processDeviceCodeResponse,
} from 'oauth4webapi';
import type { Clock } from '../../async/clock.ts';
import { isLoopback } from '../../config/machine.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { DeviceAuthorization, TokenAnswer } from '../../oauth/ports.ts';
import { isPending, providerFailure } from '../../oauth/provider-errors.ts';
import { placeholder } from './client-authentication.ts';
import type { Metadata } from './discovery.ts';
import { type EndpointCall, errorOf } from './endpoint-requests.ts';
import { clientOf, type GrantRequest, type TokenOutcome, type TokenRequests } from './token-requests.ts';

type Call = Omit<EndpointCall, 'names'>;
type Parts = {
  readonly clock: Clock;
  readonly requests: TokenRequests;
  readonly metadata: Metadata;
};

const intervalSMax = 60;
const defaultIntervalS = 5;
const slowerS = 5;
const expiresInSMax = 1800;

export async function startDevice(call: Call, { clock, requests, metadata }: Parts): Promise<DeviceAuthorization> {
  const { provider } = call;
  const { server, isIssuerKnown } = metadata;
  const { answer, response } = await requests.authenticated(call, {
    purpose: 'consent',
    server,
    secrets: new Map(),
    send: (client, auth, options) =>
      deviceAuthorizationRequest(server, client, auth, { scope: provider.scopes.join(' ') }, options),
  });
  const refused = errorOf(answer);
  if (refused !== null) throw providerFailure(provider.name, 'consent', refused);
  const code = answer.secrets.get('device_code');
  if (code === undefined) throw unreadable(provider);
  const started = await readStarted(provider, () =>
    processDeviceAuthorizationResponse(server, clientOf(provider), response),
  );
  const expiresInMs = Math.min(started.expires_in, expiresInSMax) * 1000;
  const grant: GrantRequest = {
    purpose: 'consent',
    server,
    isIssuerKnown,
    secrets: new Map([['device_code', code]]),
    send: (client, auth, options) => deviceCodeGrantRequest(server, client, auth, placeholder, options),
    process: (client, response) => processDeviceCodeResponse(server, client, response),
  };
  const untilMs = clock.monotonicMs() + expiresInMs;
  const intervalS = Math.min(started.interval ?? defaultIntervalS, intervalSMax);
  return {
    verificationUri: started.verification_uri,
    userCode: started.user_code,
    expiresInMs,
    wait: async (signal) => {
      using _code = code;
      const poll = () => requests.outcome({ ...call, signal }, grant);
      return await pollUntilSignedIn(provider, poll, { clock, intervalS, untilMs, signal });
    },
  };
}

type Polling = {
  readonly clock: Clock;
  readonly intervalS: number;
  readonly untilMs: number;
  readonly signal: AbortSignal;
};

async function pollUntilSignedIn(
  provider: OAuthProvider,
  poll: () => Promise<TokenOutcome>,
  { clock, intervalS, untilMs, signal }: Polling,
): Promise<TokenAnswer> {
  let waitS = intervalS;
  while (clock.monotonicMs() < untilMs) {
    await clock.sleep(waitS * 1000, signal);
    if (signal.aborted) throw new Failure('interrupted', 'The sign-in was stopped.');
    try {
      const result = await poll();
      if (result.kind === 'tokens') return result.answer;
      if (result.response.error === 'slow_down') waitS += slowerS;
      if (!isPending(result.response)) throw providerFailure(provider.name, 'consent', result.response);
    } catch (error) {
      if (!isFailure(error, 'oauth_provider_failed')) throw error;
      waitS = Math.min(waitS * 2, intervalSMax);
    }
  }
  throw providerFailure(provider.name, 'consent', {
    ...{ status: 400, error: 'expired_token', microsoftNumbers: [], retryAfter: null, atMs: 0 },
  });
}

const userCodeLettersMax = 64;

async function readStarted(
  provider: OAuthProvider,
  process: () => Promise<DeviceAuthorizationResponse>,
): Promise<DeviceAuthorizationResponse> {
  try {
    const started = await process();
    const { verification_uri: address, user_code: code } = started;
    const url = URL.parse(address);
    const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname));
    if (isSafe && !/[^\x21-\x7e]/.test(address) && /^[\x20-\x7e]+$/.test(code) && code.length <= userCodeLettersMax)
      return started;
  } catch {
    // The error of the library holds the answer.
  }
  throw unreadable(provider);
}

function unreadable({ name }: OAuthProvider): Failure {
  const message = `The provider ${name} sends a device authorization that cannot be used (answer_not_conformant).`;
  return new Failure('oauth_provider_failed', message, { fields: { provider: name, cause: 'answer_not_conformant' } });
}
