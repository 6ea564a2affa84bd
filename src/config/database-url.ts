/**
 * Parser of `[database] url`: `sqlite:PATH`, `mysql://USER:PASSWORD@HOST:PORT/NAME` and
 * `mysql://USER@localhost/NAME?socket=/PATH` (`mariadb://` is the same). Several hosts are separated by commas.
 *
 * The password leaves the URL as bytes. Errors quote no character of the URL, since a password with a stray `@` or `/`
 * may end up in any part of it.
 */

export type DatabaseHost = { readonly host: string; readonly port: number };

export type DatabaseUrl =
  | { readonly kind: 'sqlite'; readonly path: string }
  | {
      readonly kind: 'mysql';
      /** At least one, in the order of failover. */
      readonly hosts: readonly DatabaseHost[];
      readonly socketPath: string | null;
      readonly user: string;
      readonly password: Uint8Array | null;
      readonly database: string;
    }
  | { readonly kind: 'invalid'; readonly why: string };

const forms =
  'sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/NAME (HOST:PORT,HOST:PORT for several hosts) or ' +
  'mysql://USER@localhost/NAME?socket=/PATH, ' +
  'with special characters of user and password written as %XX';

/** Never throws. */
export function readDatabaseUrl(url: string): DatabaseUrl {
  if (url.startsWith('sqlite:')) return readSqlite(url);
  if (!/^(mysql|mariadb):\/\//.test(url)) return invalid(`must be ${forms}`);
  const urls = oneUrlPerHost(url).map((one) => URL.parse(one));
  const [first] = urls;
  if (first === undefined || first === null || urls.includes(null)) return invalid(`must be ${forms}`);
  return readMysql(
    first,
    urls.filter((one) => one !== null),
  );
}

/** A URL has one host (RFC 3986): one URL per host, otherwise equal. */
function oneUrlPerHost(url: string): readonly string[] {
  const [, before = '', hosts = '', after = ''] = /^([a-z]+:\/\/(?:[^/?#]*@)?)([^/?#]*)(.*)$/s.exec(url) ?? [];
  return hosts.split(',').map((host) => `${before}${host}${after}`);
}

function readSqlite(url: string): DatabaseUrl {
  const path = url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '');
  if (path === '') return invalid('must name a file after "sqlite:"');
  if (path.startsWith('//')) return invalid('must be sqlite:PATH, without a host');
  if (path.startsWith(':')) return invalid('must name a file after "sqlite:", since tickets must be stored');
  return { kind: 'sqlite', path };
}

function readMysql(parts: URL, urls: readonly URL[]): DatabaseUrl {
  const user = decoded(parts.username);
  const password = decoded(parts.password);
  const database = decoded(parts.pathname.slice(1));
  if (user === null || password === null || database === null) return invalid('must write special characters as %XX');
  if (user === '') return invalid('must name the user, as mysql://USER@HOST/NAME');
  if (urls.some((url) => url.hostname === '')) return invalid('must name the host, as mysql://USER@HOST/NAME');
  if (database === '' || database.includes('/')) return invalid('must end with the name of one database');
  if (parts.hash !== '') return invalid('must not contain "#": written as %23 it is taken as part of the password');
  const unknown = [...parts.searchParams.keys()].some((key) => key !== 'socket');
  if (unknown) return invalid('may have no other parameter than "socket" after the "?"');
  const socketPath = parts.searchParams.get('socket');
  if (socketPath !== null && !socketPath.startsWith('/')) return invalid('must give the socket as an absolute path');
  if (socketPath !== null && urls.length > 1) return invalid('must name one host alone when it gives a socket');
  if (new Set(urls.map(({ host }) => host)).size < urls.length) return invalid('must name each host once');
  return {
    kind: 'mysql',
    hosts: urls.map(({ hostname, port }) => ({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? 3306 : Number(port),
    })),
    socketPath,
    user,
    password: password === '' ? null : new TextEncoder().encode(password),
    database,
  };
}

function decoded(text: string): string | null {
  return /%(?![0-9a-f]{2})/i.test(text) || !isDecodable(text) ? null : decodeURIComponent(text);
}

/** True when the %XX of `text` are valid UTF-8. */
function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch (error) {
    if (error instanceof URIError) return false;
    throw error;
  }
}

function invalid(why: string): DatabaseUrl {
  return { kind: 'invalid', why };
}
