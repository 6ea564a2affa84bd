/**
 * `oauth list` and `oauth show`: providers of the configuration, and grants in the database with their states.
 *
 * They ask no provider, and never print a token, a secret or their length.
 */
import type { App } from '../../compose/compose.ts';
import type { ClientCredential, OAuthProvider } from '../../config/oauth-provider.ts';
import { quoted } from '../../config/option-values.ts';
import { Failure } from '../../errors.ts';
import { configuredProvider } from '../../oauth/grant-directory.ts';
import type { GrantView } from '../../oauth/model.ts';
import { credentialDaysLeft } from '../../oauth/readiness-check.ts';
import { asRunHere } from '../../text/program-name.ts';
import { isoTime, shortTime } from '../../text/time.ts';
import { countText } from '../../text/units.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { printList, printResult, type TableColumn } from '../output.ts';
import { conditionWords, describeGrant, type GrantDescription, grantJson, rowsOrNone } from './grants.ts';

/** A grant; `grant` null: a provider that has none yet. */
type GrantRow = {
  readonly grant: GrantView | null;
  readonly provider: OAuthProvider | null;
  readonly description: GrantDescription;
};

const columns: readonly TableColumn<GrantRow>[] = [
  { title: 'GRANT', shrinks: true, main: true, cell: ({ grant }) => grant?.name ?? '' },
  { title: 'PROVIDER', shrinks: true, cell: ({ grant, provider }) => provider?.name ?? grant?.provider ?? '' },
  { title: 'FLOW', drops: 3, cell: ({ grant, provider }) => provider?.flow ?? grant?.flow ?? '' },
  { title: 'STATE', cell: ({ description }) => conditionWords[description.condition] },
  {
    title: 'SINCE (UTC)',
    drops: 2,
    cell: ({ description: { sinceMs } }) => (sinceMs === null ? '' : shortTime(sinceMs)),
  },
  { title: 'MAILBOXES', align: 'right', drops: 1, cell: ({ grant }) => `${grant?.mailboxes ?? 0}` },
  { title: 'ACCOUNT', shrinks: true, cell: ({ grant }) => grant?.account ?? '' },
  { title: 'TOKEN UNTIL (UTC)', drops: 4, cell: ({ grant }) => tokenUntilText(grant?.accessUntilMs ?? null) },
];

function tokenUntilText(atMs: number | null): string {
  return atMs === null ? 'none' : shortTime(atMs);
}

/** Below the table stands why a grant gives no tokens, and the command that mends it. */
export async function listGrants(options: CommonOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const rows = await grantRows(app);
    const whenEmpty = 'The configuration has no OAuth provider ([oauth.NAME]), and there is no grant.';
    await printList(rows, { columns, json: rowJson, whenEmpty }, options, context);
    if (options.json === true) return 0;
    for (const { grant, provider, description } of rows) {
      if (description.why === null) continue;
      const name = grant?.name ?? provider?.name ?? '';
      const remedy = description.remedy === null ? '' : `; ${asRunHere(description.remedy)}`;
      await context.terminal.line(`${name}: ${description.why}${remedy}`, 'yellow');
    }
    return 0;
  });
}

async function grantRows(app: App): Promise<readonly GrantRow[]> {
  const providers = app.oauth.providers();
  const rows: GrantRow[] = [];
  for (const grant of await rowsOrNone(app, app.store.listGrants)) {
    const provider = configuredProvider(grant.name, grant, providers);
    const [mailbox = null] = grant.state === 'ready' ? [] : await app.store.mailboxesOfGrant(grant.name);
    rows.push({ grant, provider, description: describeGrant(grant, provider, mailbox) });
  }
  const used = new Set(rows.map(({ provider }) => provider?.name));
  const others = providers.filter(({ name }) => !used.has(name));
  const unused: GrantDescription = { condition: 'unused', sinceMs: null, why: null, remedy: null };
  return [...rows, ...others.map((provider) => ({ grant: null, provider, description: unused }))];
}

function rowJson({ grant, provider, description }: GrantRow): Record<string, unknown> {
  if (grant !== null) return grantJson(grant, description);
  return { grant: null, provider: provider?.name, flow: provider?.flow, state: description.condition, mailboxes: 0 };
}

export type OAuthNameOptions = CommonOptions & { readonly name: string };

/** `name`: of a provider, or of a grant. Throws `not_found`. */
export async function showOAuth(options: OAuthNameOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const rows = await grantRows(app);
    const { provider, grants } = found(rows, app.oauth.providers(), options.name);
    const fields = {
      provider: provider === null ? null : providerJson(provider, context.nowMs()),
      grants: grants.flatMap(({ grant, description }) => (grant === null ? [] : [grantJson(grant, description)])),
    };
    await printResult(options, context, fields, [
      ...(provider === null ? [] : detailLines(providerJson(provider, context.nowMs()))),
      ...fields.grants.flatMap((grant) => ['', ...detailLines(grant)]),
    ]);
    return 0;
  });
}

type Found = { readonly provider: OAuthProvider | null; readonly grants: readonly GrantRow[] };

/** A name of a provider wins. */
function found(rows: readonly GrantRow[], providers: readonly OAuthProvider[], name: string): Found {
  const provider = providers.find((one) => one.name === name);
  if (provider !== undefined) return { provider, grants: rows.filter((row) => row.provider?.name === name) };
  const row = rows.find(({ grant }) => grant?.name === name);
  if (row !== undefined) return { provider: row.provider, grants: [row] };
  throw new Failure('not_found', `there is no provider and no grant named ${quoted(name)}`, {
    fields: { grant: name },
    hint: 'See ticketmaild oauth list.',
  });
}

function providerJson(provider: OAuthProvider, nowMs: number): Record<string, unknown> {
  const { endpoints, credential } = provider;
  const daysLeft = credentialDaysLeft(provider, nowMs);
  return {
    provider: provider.name,
    kind: provider.kind,
    flow: provider.flow,
    tenant: provider.tenant,
    client_id: provider.clientId === '' ? null : provider.clientId,
    credential: credentialText(credential),
    credential_until: isoTime(provider.credentialEndsAtMs),
    credential_days_left: daysLeft,
    issuer: provider.issuer,
    token_endpoint: endpoints.token,
    authorization_endpoint: endpoints.authorization,
    device_endpoint: endpoints.device,
    revocation_endpoint: endpoints.revocation,
    scopes: provider.scopes,
    mailboxes: provider.mailboxes,
    imap_hosts: provider.imapHosts.map(({ host, port }) => `${host}:${port}`),
    session_ends_with_token: provider.sessionEndsWithToken,
    own_authorities: provider.caPem !== null,
    proxy: provider.proxy,
  };
}

/** Names files, never what is in them. */
export function credentialText(credential: ClientCredential): string {
  switch (credential.kind) {
    case 'none':
      return 'none (public client)';
    case 'secret':
      return `client secret in ${credential.file}`;
    case 'private_key':
      return `private key in ${credential.keyFile}`;
    case 'service_account':
      return `service account in ${credential.file}`;
  }
}

const shownMax = 20;

function detailLines(values: Record<string, unknown>): readonly string[] {
  return Object.entries(values).flatMap(([key, value]) => {
    if (value === null || value === '' || (Array.isArray(value) && value.length === 0)) return [];
    const text = Array.isArray(value) ? listText(value) : `${value}`;
    return [`${key.replaceAll('_', ' ').padEnd(24)} ${key === 'remedy' ? asRunHere(text) : text}`];
  });
}

function listText(list: readonly unknown[]): string {
  const more = list.length - shownMax;
  const shown = list.slice(0, shownMax).join(', ');
  return more > 0 ? `${shown} and ${countText(more, 'more', 'more')}` : shown;
}
