/**
 * Requests of oauth4webapi over the exchange of bytes: the library composes and checks, and sees no secret.
 *
 * In a form it composes, fields of the same name as a secret get its bytes; of the answer it sees a JSON object in
 * which tokens are filler letters and the id token is missing.
 */
import { allowInsecureRequests, customFetch } from 'oauth4webapi';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import type { ProviderErrorResponse } from '../../oauth/provider-errors.ts';
import { copySecret, type SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';
import type { FormField } from './form-body.ts';
import type { HttpAnswer } from './http-answer.ts';
import { exchange } from './http-exchange.ts';
import { type JsonNames, type JsonObject, takeSecrets } from './json-secrets.ts';

export type EndpointAnswer = {
  readonly status: number;
  /** null: the answer is not one JSON object. */
  readonly json: JsonObject | null;
  /** The receiver wipes them. */
  readonly secrets: ReadonlyMap<string, SecretBytes>;
  /** The clock of the provider, milliseconds since 1970; null: it sends no Date. */
  readonly dateMs: number | null;
  readonly retryAfter: string | null;
};

/** The provider that is asked, how long, and until when. */
export type EndpointCall = {
  readonly provider: OAuthProvider;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  readonly names: JsonNames;
};

/** Tokens, and what the protocol says about them; every other text of an answer stays unread. */
export const tokenNames: JsonNames = {
  secret: new Set(['access_token', 'refresh_token', 'id_token', 'device_code']),
  public: new Set(['token_type', 'expires_in', 'scope', 'error', 'user_code', 'verification_uri', 'interval']),
};

/** Metadata of a provider (RFC 8414): nothing in it is secret. */
export const metadataNames: JsonNames = {
  secret: new Set(),
  public: new Set([
    ...['issuer', 'token_endpoint', 'authorization_endpoint', 'device_authorization_endpoint', 'revocation_endpoint'],
    'authorization_response_iss_parameter_supported',
  ]),
};

export type LibraryOptions = {
  readonly [customFetch]: (url: string, options: LibraryRequest) => Promise<Response>;
  readonly [allowInsecureRequests]: true;
  readonly signal: AbortSignal;
};

type LibraryRequest = { readonly method: string; readonly body?: unknown };

/**
 * Runs one request of the library; `secrets` are borrowed. The answer comes beside the response that the library
 * processes. Plain http is checked by the exchange, which allows it to loopback.
 */
export async function request(
  call: EndpointCall,
  secrets: ReadonlyMap<string, SecretBytes>,
  send: (options: LibraryOptions) => Promise<Response>,
): Promise<{ readonly answer: EndpointAnswer; readonly response: Response }> {
  let answer: EndpointAnswer | null = null;
  const response = await send({
    signal: call.signal,
    [allowInsecureRequests]: true,
    [customFetch]: async (url, { body }) => {
      const form = body instanceof URLSearchParams ? fieldsOf(body, secrets) : null;
      try {
        answer = await ask(call, new URL(url), form);
      } finally {
        for (const [, value] of form ?? []) if (typeof value !== 'string') value.fill(0);
      }
      return responseOf(answer);
    },
  });
  if (answer === null) throw new Error('the library sent no request');
  return { answer, response };
}

function fieldsOf(body: URLSearchParams, secrets: ReadonlyMap<string, SecretBytes>): readonly FormField[] {
  return [...body].map(([name, value]) => [name, secrets.get(name)?.use(copyOf) ?? value] as const);
}

function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = secretBuffer(bytes.length);
  copySecret(bytes, copy);
  return copy;
}

/** One exchange without the library. */
export function ask(
  { provider, deadlineMs, signal, names }: EndpointCall,
  url: URL,
  form: readonly FormField[] | null,
) {
  const { name, caPem, proxy } = provider;
  return exchange({ provider: name, url, form, caPem, proxy, deadlineMs, signal }, (answer) =>
    readAnswer(answer, names),
  );
}

function readAnswer({ status, headers, body }: HttpAnswer, names: JsonNames): EndpointAnswer {
  const dateMs = Date.parse(headers.get('date') ?? '');
  const retryAfter = headers.get('retry-after') ?? null;
  return { status, ...takeSecrets(body, names), dateMs: Number.isNaN(dateMs) ? null : dateMs, retryAfter };
}

const bodyless = new Set([204, 205, 304]);

function responseOf({ status, json }: EndpointAnswer): Response {
  const { id_token: _, ...seen } = json ?? {};
  const body = json === null || bodyless.has(status) ? null : JSON.stringify(seen);
  return new Response(body, { status, headers: { 'content-type': 'application/json' } });
}

/** null: a success. */
export function errorOf({ status, json, retryAfter, dateMs }: EndpointAnswer): ProviderErrorResponse | null {
  const error = json?.['error'];
  if (status === 200 && error === undefined) return null;
  const numbers = json?.['error_codes'];
  return {
    status,
    error: typeof error === 'string' ? error : null,
    microsoftNumbers: Array.isArray(numbers) ? numbers.filter((one) => typeof one === 'number') : [],
    retryAfter,
    atMs: dateMs ?? Date.now(),
  };
}
