/**
 * The forms of `[database] url`: `sqlite:PATH`, `mysql://USER:PASSWORD@HOST:PORT/NAME` and
 * `mysql://USER@localhost/NAME?socket=/PATH` (`mariadb://` is the same).
 *
 * The password leaves the URL as bytes. What is wrong is told without a single character of the URL, since a
 * password with a stray `@` or `/` may end up in any part of it.
 */

export type DatabaseUrl =
  | { readonly kind: 'sqlite'; readonly path: string }
  | {
      readonly kind: 'mysql';
      readonly host: string;
      readonly port: number;
      readonly socketPath: string | null;
      readonly user: string;
      readonly password: Uint8Array | null;
      readonly database: string;
    }
  | { readonly kind: 'wrong'; readonly why: string };

const forms =
  'sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/NAME or mysql://USER@localhost/NAME?socket=/PATH, ' +
  'with special characters of user and password written as %XX';

/** Takes a database URL apart. */
export function readDatabaseUrl(url: string): DatabaseUrl {
  if (url.startsWith('sqlite:')) return readSqlite(url);
  if (!/^(mysql|mariadb):\/\//.test(url)) return wrong(`must be ${forms}`);
  const parts = URL.parse(url);
  if (parts === null) return wrong(`must be ${forms}`);
  return readMysql(parts);
}

function readSqlite(url: string): DatabaseUrl {
  const path = url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '');
  if (path === '') return wrong('must name a file after "sqlite:"');
  if (path.startsWith('//')) return wrong('must be sqlite:PATH, without a host');
  if (path.startsWith(':')) return wrong('must name a file after "sqlite:", since tickets are to be kept');
  return { kind: 'sqlite', path };
}

function readMysql(parts: URL): DatabaseUrl {
  const user = decoded(parts.username);
  const password = decoded(parts.password);
  const database = decoded(parts.pathname.slice(1));
  if (user === null || password === null || database === null) return wrong('must write special characters as %XX');
  if (user === '') return wrong('must name the user, as mysql://USER@HOST/NAME');
  if (parts.hostname === '') return wrong('must name the host, as mysql://USER@HOST/NAME');
  if (database === '' || database.includes('/')) return wrong('must end with the name of one database');
  if (parts.hash !== '') return wrong('must not contain "#": written as %23 it is taken as part of the password');
  const unknown = [...parts.searchParams.keys()].some((key) => key !== 'socket');
  if (unknown) return wrong('may have no other parameter than "socket" after the "?"');
  const socketPath = parts.searchParams.get('socket');
  if (socketPath !== null && !socketPath.startsWith('/')) return wrong('must give the socket as an absolute path');
  return {
    kind: 'mysql',
    host: parts.hostname.replace(/^\[|\]$/g, ''),
    port: parts.port === '' ? 3306 : Number(parts.port),
    socketPath,
    user,
    password: password === '' ? null : new TextEncoder().encode(password),
    database,
  };
}

function decoded(text: string): string | null {
  return /%(?![0-9a-f]{2})/i.test(text) || !decodes(text) ? null : decodeURIComponent(text);
}

/** True when the %XX of `text` are valid UTF-8. */
function decodes(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch (error) {
    if (error instanceof URIError) return false;
    throw error;
  }
}

function wrong(why: string): DatabaseUrl {
  return { kind: 'wrong', why };
}
