/**
 * The Mailboxes page over a real database and a real mail server in this process: forms as a browser sends them, rows
 * as the database has them.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { createMailboxActions } from '../../../src/admin/mailboxes/actions.ts';
import { createMailboxConfirmation } from '../../../src/admin/mailboxes/confirmation.ts';
import { createProbeRunner, type ProbeRunner } from '../../../src/admin/mailboxes/probe-runner.ts';
import { createMailboxRetries } from '../../../src/admin/mailboxes/retry.ts';
import { createOAuthSignIn } from '../../../src/admin/oauth-sign-in.ts';
import type { App } from '../../../src/compose/compose.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import { enable } from '../../../src/encryption/operations/enable.ts';
import type { Sessions } from '../../../src/ingest/ports.ts';
import { adminPassword, type MemoryService, memoryService } from '../../adapters/web/memory-service.ts';
import { type Browser, type Got, openPage, signedIn } from '../../adapters/web/page-client.ts';
import { testApp } from '../../support/app.ts';

export const own = adminPassword;

export type MailboxPageScene = AsyncDisposable & {
  readonly app: App;
  readonly service: MemoryService;
  readonly address: string;
  readonly ada: Browser & { readonly csrf: string };
  /** Servers that a credential was sent to, `user@host:port PASSWORD`. */
  readonly logins: readonly string[];
  /** What a writer of the database does. */
  sql(statement: string): void;
  /** Switches encryption on. */
  enable(): Promise<void>;
  /** Sends a form below `/admin/` with its CSRF token. */
  form(path: string, fields: Readonly<Record<string, string>>): Promise<Got>;
  /** The hidden fields that name the row of a mailbox as its page shows it. */
  row(name: string): Promise<{ readonly mailbox: string; readonly version: string }>;
};

export type SceneOptions = {
  /** Instead of a mail server. */
  readonly probe?: Sessions['probe'];
  readonly probes?: ProbeRunner;
  readonly providers?: readonly OAuthProvider[];
};

export async function openMailboxPageScene(options: SceneOptions = {}): Promise<MailboxPageScene> {
  await using building = new AsyncDisposableStack();
  const { app, config } = building.use(await testApp(null));
  const database = building.adopt(new DatabaseSync(join(config.dataDir, 'ticketmaild.db')), (open) => open.close());
  const configured = options.providers ?? [];
  const logins: string[] = [];
  const sessions: Pick<Sessions, 'probe'> = {
    probe: async (connection, credential, step) => {
      const sent = credential.secret.use((bytes) => Buffer.from(bytes).toString());
      logins.push(`${connection.user}@${connection.host}:${connection.port} ${sent}`);
      return await (options.probe ?? app.sessions.probe)(connection, credential, step);
    },
  };
  const ports = { ...app, clock: systemClock, sessions, probes: options.probes ?? createProbeRunner(systemClock) };
  const actions = createMailboxActions({
    ...{ ...ports, oauth: { ...app.oauth, providers: () => configured } },
    changed: () => undefined,
    verifyPassword: async (_name, password) =>
      password.use((bytes) => Buffer.from(bytes).toString()) === own ? 'right' : 'wrong',
  });
  const { signInOf } = createOAuthSignIn({ ...ports, ...app.oauth, providers: () => configured });
  const providers = () => configured.map(({ name }) => ({ name, label: name }));
  const confirmation = createMailboxConfirmation({ ...ports, signInOf, providers });
  const retries = createMailboxRetries({ ...ports, loginFailuresMax: () => 3, changed: () => undefined });
  const service = memoryService({ ...actions, ...confirmation, ...retries });
  const page = building.use(await openPage(service));
  const ada = await signedIn(page);
  const [session] = service.sessions.values();
  const csrf = session?.csrf ?? '';
  const undo = building.move();
  return {
    ...{ app, service, logins, address: page.address, ada: { ...ada, csrf } },
    sql: (statement) => void database.exec(statement),
    enable: async () => {
      const quiet = { step: () => undefined, passwords: () => undefined, workersWithoutKey: () => undefined };
      await enable(app.operation(quiet), { force: false, waitMs: 0, signal: new AbortController().signal });
    },
    form: (path, fields) => ada.post(`/admin/${path}`, { ...fields, csrf }),
    async row(name) {
      const { text } = await ada.get(`/admin/mailbox?${new URLSearchParams({ name })}`);
      return { mailbox: name, version: /name="version" value="([^"]*)"/.exec(text)?.[1] ?? '' };
    },
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** The values that a form shows: its hidden fields, inputs and selects. */
export function fieldsOf(html: string, action: string): Record<string, string> {
  const form = new RegExp(`<form method="post" action="/admin/${action}">.*?</form>`, 's').exec(html)?.[0] ?? '';
  const fields: Record<string, string> = {};
  for (const [, tag = ''] of form.matchAll(/<input ([^>]*)>/g)) {
    const name = /name="([^"]*)"/.exec(tag)?.[1] ?? '';
    const isTicked = !tag.includes('type="checkbox"') || / checked/.test(tag);
    if (isTicked && !tag.includes('type="password"')) fields[name] = unescaped(/value="([^"]*)"/.exec(tag)?.[1] ?? '');
  }
  for (const [, name = '', options = ''] of form.matchAll(/<select [^>]*name="([^"]*)">(.*?)<\/select>/gs))
    fields[name] = /value="([^"]*)" selected/.exec(options)?.[1] ?? /value="([^"]*)"/.exec(options)?.[1] ?? '';
  for (const [, name = '', text = ''] of form.matchAll(/<textarea [^>]*name="([^"]*)"[^>]*>(.*?)<\/textarea>/gs))
    fields[name] = unescaped(text);
  return fields;
}

function unescaped(text: string): string {
  return text
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}
