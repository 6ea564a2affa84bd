/**
 * Headless Chromium of the system, for tests of pages and for screenshots.
 *
 * Each browser has a new empty profile that is gone afterwards, and reaches loopback alone: a request to any other host
 * is refused and told as trouble. Errors on the console, in a script, and of the content security policy are gathered
 * for each page: `troubles` must be empty in the end.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Browser, type BrowserContext, chromium, type Page, type Request, type Route } from 'playwright-core';
import { findProgram } from './servers/programs.ts';

export type Look = {
  readonly width?: number;
  readonly height?: number;
  readonly scheme?: 'light' | 'dark';
  readonly hasScript?: boolean;
  readonly ignoresCertificate?: boolean;
};

export type OpenedPage = AsyncDisposable & {
  readonly page: Page;
  readonly context: BrowserContext;
  /** What went wrong so far, a line each. */
  readonly troubles: readonly string[];
  /** Runs `work` while no request of the page is in flight; new ones wait until it has ended. */
  betweenRequests(work: () => Promise<void>): Promise<void>;
};

export type TestBrowser = AsyncDisposable & {
  /** A page of its own in a context of its own, without cookies. */
  open(look?: Look): Promise<OpenedPage>;
};

/** The programs that a browser may be, in the order of preference. */
export const browserPrograms: readonly string[] = [
  // Chromium without the user interface: a third less CPU time for the same pages.
  'chromium-headless-shell',
  'chromium',
  'chromium-browser',
  'google-chrome',
];

const switches = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
  // Nothing but loopback has an address.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE [::1]',
];

const waitMs = 15_000;
const restMs = 5000;

/** Throws when no browser is installed. */
export async function startBrowser(): Promise<TestBrowser> {
  const program = browserPrograms.map(findProgram).find((path) => path !== null);
  if (program === undefined) throw new Error('chromium is not installed: run npm test, which installs it or says how');
  const browser = await chromium.launch({ executablePath: program, args: switches, headless: true });
  return {
    open: (look = {}) => open(browser, look),
    [Symbol.asyncDispose]: () => browser.close(),
  };
}

async function open(browser: Browser, look: Look): Promise<OpenedPage> {
  const { width = 1280, height = 900, scheme = 'light', hasScript = true, ignoresCertificate = false } = look;
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    javaScriptEnabled: hasScript,
    ignoreHTTPSErrors: ignoresCertificate,
    locale: 'en-GB',
    timezoneId: 'Asia/Tokyo',
  });
  const troubles: string[] = [];
  await context.route(
    (url) => !['localhost', '127.0.0.1', '[::1]'].includes(url.hostname),
    async (route) => {
      troubles.push(`a request left this machine: ${route.request().url()}`);
      await route.abort();
    },
  );
  // Less than a test has, so that what was waited for is reported.
  context.setDefaultTimeout(waitMs);
  const page = await context.newPage();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) troubles.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => troubles.push(`script: ${error.message}`));
  const betweenRequests = requestGate(page);
  return { page, context, troubles, betweenRequests, [Symbol.asyncDispose]: () => close(context) };
}

function requestGate(page: Page): OpenedPage['betweenRequests'] {
  const inFlight = new Set<Request>();
  page.on('request', (request) => inFlight.add(request));
  page.on('requestfinished', (request) => inFlight.delete(request));
  page.on('requestfailed', (request) => inFlight.delete(request));
  return async (work) => {
    const done = Promise.withResolvers<void>();
    const hold = async (route: Route): Promise<void> => {
      inFlight.delete(route.request());
      await done.promise;
      inFlight.add(route.request());
      await route.fallback();
    };
    // From here on the browser sends nothing: what is in flight was sent before, and its event came before.
    await page.route('**/*', hold);
    try {
      while (inFlight.size > 0) await setTimeout(10);
      await work();
    } finally {
      done.resolve();
      await page.unrouteAll({ behavior: 'wait' });
    }
  };
}

/**
 * Chromium may never answer when a context is closed in the middle of a navigation (a form that was just sent): each
 * page comes to rest before. What does not answer all the same ends with the browser.
 */
async function close(context: BrowserContext): Promise<void> {
  for (const page of context.pages()) {
    await page.goto('about:blank', { timeout: restMs }).catch(() => undefined);
  }
  const ending = new AbortController();
  await Promise.race([
    context.close(),
    setTimeout(restMs, undefined, { signal: ending.signal }).catch(() => undefined),
  ]);
  ending.abort();
}

let axeSource: Promise<string> | null = null;

/**
 * What axe-core finds on the page unchanged: one line for each, with the first place of it. It runs through the
 * debugger of the browser, to which the policy of the page does not apply.
 */
export async function axeFindings(page: Page): Promise<readonly string[]> {
  axeSource ??= readFile(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
  await page.evaluate(`${await axeSource}; undefined`);
  // What it cannot decide (`incomplete`) is for people.
  const found: unknown =
    await page.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations.map(({ id, help, nodes }) => id + ': ' + help + ' (' + nodes.length + ') ' + nodes[0].html.slice(0, 300) + ' ' + nodes[0].failureSummary))`);
  if (!Array.isArray(found)) throw new Error('axe gave no list');
  return found.map(String);
}

/** By how many pixels the page itself can be scrolled sideways; 0 is right. */
export async function sidewaysPixels(page: Page): Promise<number> {
  return Number(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'));
}

/** `FOLDER/NAME.png` of the whole page; the folder is made. */
export async function screenshot(page: Page, folder: string, name: string, isWhole = true): Promise<string> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${name}.png`);
  await page.screenshot({ path, fullPage: isWhole, animations: 'disabled' });
  return path;
}
