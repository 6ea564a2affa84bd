/**
 * The table of settings: every key of the configuration file with its type, its limits and its default.
 *
 * One zod schema, strict at every level. The text of each zod issue is what is allowed there ("a whole number of
 * seconds from 1 to 86400"), so that one sentence can be made of it. The names of the environment variables follow
 * from the schema.
 */
import { isIP } from 'node:net';
import { z } from 'zod';

function wholeNumber(of: string, from: number, to: number, fallback: number) {
  const error = `a whole number${of === '' ? '' : ` of ${of}`} from ${from} to ${to}`;
  return z.int({ error }).min(from, { error }).max(to, { error }).default(fallback);
}

function choice<const T extends readonly [string, string, ...string[]]>(values: T, fallback: T[number]) {
  const quoted = values.map((value) => `"${value}"`);
  const error = `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`;
  return z.enum(values, { error }).default(fallback);
}

const text = (fallback: string) => z.string({ error: 'a text in quotes' }).default(fallback);
const addressesMax = 1000;
const mailAddresses = `a list of at most ${addressesMax} mail addresses, as ["monitor@example.org"]`;
const addressForm = /^[^\s@,]{1,64}@[^\s@,]{1,255}$/u;
const isAddressList = (value: unknown): value is readonly string[] =>
  Array.isArray(value) &&
  value.length <= addressesMax &&
  value.every((one) => typeof one === 'string' && addressForm.test(one));
const proxiesMax = 20;
const ipAddresses = `a list of at most ${proxiesMax} IP addresses, as ["10.0.0.7"]`;
const isIpList = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.length <= proxiesMax && value.every((one) => typeof one === 'string' && isIP(one) > 0);
const workerName = 'up to 16 small letters, digits and dashes in quotes';
const yesOrNo = (fallback: boolean) => z.boolean({ error: 'true or false' }).default(fallback);

function table<T extends z.core.$ZodLooseShape>(shape: T) {
  return z.strictObject(shape, { error: 'a table, written as [name] on a line of its own' });
}

const settings = table({
  data_dir: text('data'),
  database: table({
    url: text('sqlite:ticketmaild.db'),
    password_file: text(''),
    tls: choice(['auto', 'verify', 'off'], 'auto'),
    ca_file: text(''),
    connections_max: wholeNumber('connections', 1, 500, 10),
    migrate: yesOrNo(true),
  }).prefault({}),
  encryption: table({
    passphrase_file: text(''),
  }).prefault({}),
  http: table({
    listen: text('127.0.0.1:8025'),
    expose: yesOrNo(false),
  }).prefault({}),
  admin: table({
    listen: text('127.0.0.1:8026'),
    tls_certificate_file: text(''),
    tls_key_file: text(''),
    proxies: z.custom<readonly string[]>(isIpList, { error: ipAddresses }).default([]),
    origin: text(''),
    idle_min: wholeNumber('minutes', 1, 1440, 30),
  }).prefault({}),
  log: table({
    level: choice(['trace', 'debug', 'info', 'warn', 'error'], 'info'),
  }).prefault({}),
  poll: table({
    interval_s: wholeNumber('seconds', 1, 86_400, 60),
    concurrency_max: wholeNumber('polls', 1, 256, 8),
    concurrency_per_host_max: wholeNumber('polls', 1, 256, 4),
    lease_s: wholeNumber('seconds', 5, 3600, 60),
    connect_timeout_s: wholeNumber('seconds', 1, 600, 20),
    command_timeout_s: wholeNumber('seconds', 1, 3600, 60),
    back_off_s_max: wholeNumber('seconds', 1, 86_400, 900),
    login_refusals_max: wholeNumber('refused logins', 1, 100, 3),
    login_pause_h: wholeNumber('hours', 1, 720, 6),
  }).prefault({}),
  push: table({
    connections_max: wholeNumber('connections', 0, 10_000, 200),
    connections_per_host_max: wholeNumber('connections', 0, 10_000, 100),
  }).prefault({}),
  message: table({
    bytes_max_mb: wholeNumber('megabytes', 1, 1024, 50),
    batch_messages_max: wholeNumber('messages', 1, 1000, 100),
    batch_bytes_max_mb: wholeNumber('megabytes', 1, 256, 8),
    parse_timeout_s: wholeNumber('seconds', 1, 3600, 15),
    parse_memory_mb: wholeNumber('megabytes', 64, 16_384, 512),
    parse_threads: wholeNumber('threads', 1, 64, 1),
  }).prefault({}),
  limits: table({
    sender_per_hour: wholeNumber('mails', 0, 1_000_000, 100),
    sender_exempt: z.custom<readonly string[]>(isAddressList, { error: mailAddresses }).default([]),
  }).prefault({}),
  tickets: table({
    reopen_days: wholeNumber('days', 0, 3650, 0),
  }).prefault({}),
  raw: table({
    keep_days: wholeNumber('days', 0, 3650, 7),
  }).prefault({}),
  stop: table({
    drain_s: wholeNumber('seconds', 0, 3600, 20),
  }).prefault({}),
  worker: table({
    name: z
      .string({ error: workerName })
      .regex(/^[a-z0-9-]{0,16}$/, { error: workerName })
      .default(''),
  }).prefault({}),
});

export type Settings = z.output<typeof settings>;

/** One key: its place in the file, its environment variable, and how its text in a variable is to be read. */
export type Setting = {
  readonly path: readonly string[];
  readonly variable: string;
  /** `list`: separated by commas. */
  readonly type: 'number' | 'boolean' | 'text' | 'list';
};

/** Values of these keys are or may be secrets: no error quotes them. */
export const neverShown: ReadonlySet<string> = new Set([
  'database.url',
  'database.password_file',
  'encryption.passphrase_file',
]);

/** The tables that a file may have, by name. */
export const tableNames: readonly string[] = Object.entries(settings.shape)
  .filter(([, schema]) => inner(schema) instanceof z.ZodObject)
  .map(([name]) => name);

/** Every key of the configuration, in the order of the file. */
export const allSettings: readonly Setting[] = list(settings, []);

/** Parses a document; the message of each issue is what is allowed at its path. */
export function parseSettings(
  document: unknown,
):
  | { readonly ok: true; readonly settings: Settings }
  | { readonly ok: false; readonly issues: readonly z.core.$ZodIssue[] } {
  const result = settings.safeParse(document);
  return result.success ? { ok: true, settings: result.data } : { ok: false, issues: result.error.issues };
}

function list(object: z.ZodObject, above: readonly string[]): readonly Setting[] {
  return Object.entries(object.shape).flatMap(([key, schema]) => {
    const path = [...above, key];
    const type = inner(schema);
    if (type instanceof z.ZodObject) return list(type, path);
    const variable = `TICKETMAILD_${path.join('_').toUpperCase()}`;
    return [{ path, variable, type: typeName(type) }];
  });
}

function inner(schema: unknown): unknown {
  return schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault ? inner(schema.unwrap()) : schema;
}

function typeName(schema: unknown): Setting['type'] {
  if (schema instanceof z.ZodNumber) return 'number';
  if (schema instanceof z.ZodCustom) return 'list';
  return schema instanceof z.ZodBoolean ? 'boolean' : 'text';
}
