/**
 * Account management for the admin page: add, list, set a password, remove, unlock.
 *
 * The commands change the database alone; a running daemon reads it at the next request.
 */

import { randomFillSync, randomUUIDv7 } from 'node:crypto';
import type { AdminAccount } from '../admin/ports.ts';
import {
  type AccountPorts,
  addAccount,
  findAccount,
  readAdminName,
  removeAccount,
  requireFreeName,
  requireGoodPassword,
  setAccountPassword,
  unlockSignIn,
} from '../admin/sign-in/accounts.ts';
import { attemptLimits } from '../admin/sign-in/limits.ts';
import type { App } from '../compose/compose.ts';
import type { AdminConfig } from '../config/config.ts';
import { isLoopback, urlHost } from '../config/machine.ts';
import { adminPasswordBytesMin } from '../secret/admin-password.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import { hintText } from '../text/program-name.ts';
import { isoTime, shortTime } from '../text/time.ts';
import { askTwice, type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';
import { isConfirmed, printList, type TableColumn } from './output.ts';
import { type ListenerState, listenerState } from './status/listeners.ts';

type NameOptions = CommonOptions & { readonly name: string };
type PasswordOptions = NameOptions & { readonly passwordStdin?: boolean };

const columns: readonly TableColumn<AdminAccount>[] = [
  { title: 'NAME', shrinks: true, main: true, cell: ({ name }) => name },
  { title: 'ADDED (UTC)', drops: 1, cell: ({ createdAtMs }) => shortTime(createdAtMs) },
  { title: 'PASSWORD SET (UTC)', cell: ({ passwordChangedAtMs }) => shortTime(passwordChangedAtMs) },
  { title: 'LAST SIGN-IN (UTC)', cell: ({ lastSignInAtMs }) => shortTime(lastSignInAtMs) },
];

function portsOf({ store, actor }: App, { nowMs }: Context): AccountPorts {
  return { store, clock: { nowMs }, actor, newId: randomUUIDv7, random: (bytes) => randomFillSync(bytes) };
}

/** Prints the address of the page, too. Throws `usage`, `already_exists`, `password_missing`. */
export async function addAdmin(options: PasswordOptions, context: Context): Promise<number> {
  const { terminal } = context;
  const name = readAdminName(options.name);
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    const ports = portsOf(app, context);
    await requireFreeName(ports, name);
    using password = await newAdminPassword(options, context, name);
    await addAccount(ports, name, password);
    await terminal.line(`added admin ${name}`);
    const address = config.admin;
    const state = address === null ? null : await listenerState({ name: 'page', address }, config.dataDir, context);
    for (const line of pageLines(address, app.actor.host, state)) terminal.note(line);
    return 0;
  });
}

export async function listAdmins(options: CommonOptions, context: Context): Promise<number> {
  return await withApp(options, context, async ({ store }) => {
    const whenEmpty = 'There is no admin yet: add one with ticketmaild admin add NAME.';
    await printList(await store.listAccounts(), { columns, json: accountJson, whenEmpty }, options, context);
    return 0;
  });
}

function accountJson(account: AdminAccount): Record<string, unknown> {
  return {
    name: account.name,
    added_at: isoTime(account.createdAtMs),
    password_set_at: isoTime(account.passwordChangedAtMs),
    last_sign_in_at: isoTime(account.lastSignInAtMs),
  };
}

/** Ends the sessions of the account. Throws `not_found`, `usage`, `password_missing`. */
export async function setAdminPassword(options: PasswordOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const ports = portsOf(app, context);
    const account = await findAccount(ports, options.name);
    const { name } = account;
    using password = await newAdminPassword(options, context, name);
    await setAccountPassword(ports, account, password);
    await terminal.line(`set the password of admin ${name}, and ended the sessions of that account`);
    return 0;
  });
}

/** Asks for confirmation without `--yes`. Throws `not_found`, `usage`. */
export async function removeAdmin(options: NameOptions & { yes?: boolean }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const ports = portsOf(app, context);
    const account = await findAccount(ports, options.name);
    const question = `Remove admin ${account.name} and end the sessions of that account?`;
    const sure = await isConfirmed(options, context, question);
    if (sure) await removeAccount(ports, account);
    await terminal.line(`${sure ? 'removed' : 'kept'} admin ${account.name}`);
    if (sure && (await app.store.countAccounts()) === 0)
      terminal.note('No account is left: the admin page refuses every sign-in.');
    return sure ? 0 : 1;
  });
}

/** Clears all recorded sign-in attempts: others on the same address may have caused a lock. */
export async function unlockAdmins(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    await unlockSignIn(app);
    const seconds = attemptLimits.recheckMs / 1000;
    await terminal.line(`cleared all sign-in attempts; a running daemon notices within ${seconds} seconds`);
    return 0;
  });
}

/**
 * The address of the admin page, and the SSH tunnel to it; as served only where the daemon says so, since an admin
 * types a password there. `thisHost`: the name of this machine; `state`: null where the page is off.
 */
export function pageLines(admin: AdminConfig | null, thisHost: string, state: ListenerState | null): readonly string[] {
  if (admin === null || state === null) {
    return [
      'The admin page is off. To enable it: set [admin] listen = "127.0.0.1:8026" in the configuration, then restart the daemon.',
    ];
  }
  if (state.kind === 'elsewhere') return [`Admin page: ${state.text}.`];
  const page = pageAddress(admin, thisHost);
  if (state.kind !== 'unserved') {
    const where = state.kind === 'served' ? 'The daemon serves' : 'The daemon does not run. Once it does, it serves';
    return [`${where} the admin page at ${page}`];
  }
  return [
    `The admin page is not served now: ${state.text}.`,
    hintText(state.hint),
    `Type no password there until ticketmaild check says that the daemon listens. Then the page is at ${page}`,
  ];
}

function pageAddress(admin: AdminConfig, thisHost: string): string {
  const { origin, tls } = admin;
  if ('path' in admin) return `${origin}/admin (for the proxy at ${admin.path})`;
  const { host, port } = admin;
  const page = `${origin ?? ownOrigin({ host, port, tls }, thisHost)}/admin`;
  if (origin !== null || !isLoopback(host)) return page;
  const tunnel = `ssh -L ${port}:${urlHost(host)}:${port} ${thisHost}`;
  return `${page} (from this machine alone; from another one run first: ${tunnel})`;
}

type OwnAddress = { readonly host: string; readonly port: number } & Pick<AdminConfig, 'tls'>;

/** A page that listens on every address is reached by the name of its machine. */
function ownOrigin({ host, port, tls }: OwnAddress, thisHost: string): string {
  const isEverywhere = host === '0.0.0.0' || host === '::';
  return `${tls === null ? 'http' : 'https'}://${isEverywhere ? thisHost : urlHost(host)}:${port}`;
}

/**
 * Reads a password from the prompt, twice, or from standard input. Throws the failures of `requireGoodPassword`,
 * `password_missing`, and `usage` for two that differ.
 */
async function newAdminPassword(
  { passwordStdin }: PasswordOptions,
  { terminal }: Context,
  name: string,
): Promise<SecretBytes> {
  if (passwordStdin !== true)
    return await askTwice(
      terminal,
      `New password of admin ${JSON.stringify(name)} (at least ${adminPasswordBytesMin} bytes): `,
      'passwords',
      requireGoodPassword,
    );
  const password = await terminal.readPassword();
  try {
    requireGoodPassword(password);
    return password;
  } catch (error) {
    password.wipe();
    throw error;
  }
}
