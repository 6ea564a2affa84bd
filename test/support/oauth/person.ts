/**
 * A person with a browser, without a browser: signs in on the forms of the provider, allows or denies, follows on.
 *
 * `visitProvider` ends at the first address that is not the provider's and returns it, as it stands in the address bar
 * (`answer`); or at a page of the provider without a form, and returns its heading. TLS is trusted by `caPem`.
 */
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { text as readText } from 'node:stream/consumers';

export type BrowserEnding =
  | { readonly kind: 'address'; readonly answer: string }
  | { readonly kind: 'page'; readonly heading: string };

export type PersonOptions = { readonly caPem?: string; readonly denies?: boolean };

const stepsMax = 20;

/** Cookies of one browser and one provider. */
type Browser = { readonly cookies: Map<string, string>; readonly caPem: string | undefined };

/** Opens `url` (of an authorization, or `verification_uri_complete` of a device) as `user`. */
export async function visitProvider(url: string, user: string, options: PersonOptions = {}): Promise<BrowserEnding> {
  const browser: Browser = { cookies: new Map(), caPem: options.caPem };
  let at = new URL(url);
  const home = at.origin;
  let form: URLSearchParams | null = null;
  for (let step = 0; step < stepsMax; step += 1) {
    const { next, html } = await open(browser, at, form);
    if (next !== null && next.origin !== home) return { kind: 'address', answer: next.href };
    if (next !== null) {
      at = next;
      form = null;
      continue;
    }
    // A provider whose code form was aborted shows that form again.
    const opening = /<form[^>]*method="post"[^>]*>/i.exec(html)?.[0];
    if (opening === undefined || form?.get('abort') === 'yes')
      return { kind: 'page', heading: /<h1>(.*?)<\/h1>/.exec(html)?.[1] ?? html.slice(0, 300) };
    form = fillForm(html, user, options.denies === true);
    at = new URL(/action="([^"]*)"/.exec(opening)?.[1] ?? at, at);
  }
  throw new Error('the provider goes in circles');
}

function fillForm(html: string, user: string, denies: boolean): URLSearchParams {
  const fields = new URLSearchParams();
  for (const [input] of html.matchAll(/<input[^>]*>/g))
    fields.set(/name="([^"]*)"/.exec(input)?.[1] ?? '', /value="([^"]*)"/.exec(input)?.[1] ?? '');
  if (fields.has('login')) {
    fields.set('login', user);
    fields.set('password', 'pw');
  }
  if (html.includes('name="go"')) fields.set('go', denies && html.includes('value="no"') ? 'no' : 'yes');
  else if (denies && html.includes('name="abort"')) fields.set('abort', 'yes');
  return fields;
}

type Page = { readonly next: URL | null; readonly html: string };

function open({ cookies, caPem }: Browser, url: URL, form: URLSearchParams | null): Promise<Page> {
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  const options = {
    method: form === null ? 'GET' : 'POST',
    ca: caPem,
    agent: false,
    headers: {
      cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
      ...(form === null ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
    },
  };
  return new Promise((resolve, reject) => {
    const answered = async (response: IncomingMessage): Promise<void> => {
      for (const line of response.headers['set-cookie'] ?? []) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
        if (value === '') cookies.delete(name);
        else cookies.set(name, value);
      }
      const html = await readText(response);
      const { location } = response.headers;
      resolve({ next: location === undefined ? null : new URL(location, url), html });
    };
    request(url, options, (response) => void answered(response).catch(reject))
      .on('error', reject)
      .end(form?.toString());
  });
}
