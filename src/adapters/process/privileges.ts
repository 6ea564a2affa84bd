/**
 * Privilege dropping (setuid(2), permanent and temporary): root opens nothing in a folder that another user controls.
 *
 * Root opens a path as its owner: root where every folder and link on the way is root's, else the one other user whose
 * folders are on it. So a link that this user left there leads to what the user may open anyway. A path with folders of
 * two other users, or with one that anyone or a group can change, has no owner: `refused`. An ACL (acl(5)) counts as a
 * group: its mask is in the bits of the group. The way is walked by open descriptors, so that what was checked is what
 * is used, whatever is renamed meanwhile (CWE-367). Before the data folder is touched, the process becomes its owner
 * for good. A process that is not root changes nothing.
 */
import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  type Stats,
} from 'node:fs';
import { userInfo } from 'node:os';
import { isAbsolute, join, resolve, sep } from 'node:path';
import { causeCode, Failure, isFailure } from '../../errors.ts';
import { shellArg } from '../../text/shell.ts';

/** `name` null: a number without an entry in the list of users, as in many containers; it has no other groups. */
type User = { readonly uid: number; readonly gid: number; readonly name: string | null };

const root: User = { uid: 0, gid: 0, name: 'root' };
/** As in path_resolution(7). */
const linksMax = 40;
const writableByGroup = 0o020;
const writableByAll = 0o002;
const sticky = 0o1000;

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Open descriptors of new folders, given to the user that root becomes. */
export const inheritances = new Set<number>();

/**
 * Runs `open` with the absolute path, to read what is there. For root the path leads through an open folder, or nowhere
 * where a name is missing, and `open` has the rights of the owner, a promise until it settles. Throws `refused`.
 */
export function asPathOwner<T>(path: string, open: (path: string) => T): T {
  const absolute = resolve(path);
  if (!isRoot()) return open(absolute);
  const way = walk(absolute);
  const end = actAs(userOf(pathOwner(absolute, way)), way);
  const own = way.missing.length === 0 ? stepPath(way.folder, way.name) : nowhere;
  const fail = (error: unknown): never => {
    throw withShownPath(error, own, absolute);
  };
  let isPending = false;
  try {
    const result = open(own);
    if (!(result instanceof Promise)) return result;
    isPending = true;
    return result.catch(fail).finally(end) as T;
  } catch (error) {
    return fail(error);
  } finally {
    if (!isPending) end();
  }
}

/** A folder in which root may create something; disposing closes it. */
export type OutputFolder = Disposable & {
  /** The names below the last folder that are missing. */
  readonly missing: readonly string[];
  /** The path of a name in the last folder, through its descriptor. */
  pathOf(name: string): string;
  /** Makes the missing folders, mode 0700, as the user whose folder it is; an open descriptor of the last. */
  makeMissing(): number;
};

/**
 * Opens a folder for root, or the last one above it that is there. A folder of root below one of another user, who may
 * have put it there, is `refused`.
 */
export function openOutputFolder(path: string): OutputFolder {
  const absolute = resolve(path);
  const way = walk(absolute);
  try {
    if (way.missing.length === 0 && way.name !== '.') throw new Failure('already_exists', `${absolute} is no folder`);
    const owner = userOf(commonOwner(absolute, way.steps));
    const { uid } = fstatSync(way.folder);
    if (uid !== owner.uid && owner.uid !== 0) {
      const hint = 'Choose a folder that belongs to root on the whole way, or to that user.';
      const why = `its folder belongs to user ${uid}, and is reached through one of user ${owner.uid}`;
      throw new Failure('refused', `${absolute}: ${why}`, { hint });
    }
    return {
      missing: way.missing,
      pathOf: (name) => stepPath(way.folder, name),
      makeMissing: () => makeFolders(absolute, way, owner),
      [Symbol.dispose]: () => closeSync(way.folder),
    };
  } catch (error) {
    closeSync(way.folder);
    throw error;
  }
}

/** mkdir(2) of each missing name in the open folder above it. */
function makeFolders(path: string, { folder, missing }: Way, owner: User): number {
  let last = openSync(stepPath(folder), folderFlags);
  try {
    for (const name of missing) {
      const end = actAs(owner);
      try {
        mkdirSync(stepPath(last, name), { mode: 0o700 });
      } finally {
        end();
      }
      const { dev } = fstatSync(last);
      last = replaced(last, stepPath(last, name));
      const made = fstatSync(last);
      if (made.uid === owner.uid && made.dev === dev && readdirSync(stepPath(last)).length === 0) continue;
      const hint = `Find out who exchanged it: ls -la ${shellArg(pathOf(last))}`;
      throw new Failure('refused', `${path}: another folder took the place of the one that root made`, { hint });
    }
    return last;
  } catch (error) {
    closeSync(last);
    throw error;
  }
}

/**
 * Becomes the owner of the data folder for good, with that user's groups and without any capability; where it is
 * missing, the owner of the path to it. `program`: a file of this program, which that user must be able to read. False:
 * it stays the same user. Throws `refused`.
 */
export function becomeFolderOwner(folder: string, program: string): boolean {
  return isRoot() && become(userOf(folderOwner(resolve(folder))), folder, program);
}

/** The same for the owner of any path. */
export function becomePathOwner(path: string, program: string): boolean {
  if (!isRoot()) return false;
  const way = walk(resolve(path));
  closeSync(way.folder);
  refuseSharedPlace(path, way);
  return become(userOf(pathOwner(resolve(path), way)), path, program);
}

function become(owner: User, folder: string, program: string): boolean {
  if (owner.uid === 0) return false;
  const restore = actAs(owner);
  try {
    closeSync(openSync(program, 'r'));
  } catch (error) {
    const why = `user ${owner.uid}, who owns ${folder}, cannot read ${program} (${causeCode(error)})`;
    const hint = 'Root becomes that user: put the program where that user can read it, as systemd/install does.';
    throw new Failure('refused', why, { hint, cause: error });
  } finally {
    restore();
  }
  changeUser(folder, owner);
  return true;
}

function changeUser(folder: string, { uid, gid, name }: User): void {
  try {
    for (const descriptor of inheritances) fchownSync(descriptor, uid, gid);
    setGroups(name, gid);
    process.setgid?.(gid);
    process.setuid?.(uid);
  } catch (error) {
    const why = `root cannot become user ${uid}, who owns it (${causeCode(error)})`;
    const hint = 'Run the command as that user, or give root the capabilities CAP_SETUID and CAP_SETGID.';
    throw new Failure('refused', `${folder}: ${why}`, { hint, cause: error });
  }
  if (process.getuid?.() !== uid || process.geteuid?.() !== uid || canBeRoot())
    throw new Failure('unexpected', `the process did not become user ${uid}`);
}

function canBeRoot(): boolean {
  try {
    process.seteuid?.(0);
    return true;
  } catch {
    return false;
  }
}

/** Returns what undoes it, and closes the folder of `way`. */
function actAs({ uid, gid, name }: User, way: Way | null = null): () => void {
  const [groups, ownGid] = [process.getgroups?.() ?? [], process.getegid?.() ?? 0];
  const restore = (): void => {
    if (way !== null) closeSync(way.folder);
    if (uid === 0) return;
    process.seteuid?.(0);
    process.setegid?.(ownGid);
    process.setgroups?.(groups);
  };
  try {
    if (uid === 0) return restore;
    setGroups(name, gid);
    process.setegid?.(gid);
    process.seteuid?.(uid);
    return restore;
  } catch (error) {
    restore();
    throw error;
  }
}

/** initgroups(3), which the types of Node lack. */
type Initgroups = { initgroups?(name: string, gid: number): void };

function setGroups(name: string | null, gid: number): void {
  if (name === null) process.setgroups?.([gid]);
  else (process as Initgroups).initgroups?.(name, gid);
}

/** Only the effective user has its entry looked up. */
function userOf({ uid, gid }: Pick<Stats, 'uid' | 'gid'>): User {
  if (uid === 0) return root;
  process.seteuid?.(uid);
  try {
    const { gid: primary, username: name } = userInfo();
    return { uid, gid: primary, name };
  } catch (error) {
    if (['ERR_SYSTEM_ERROR', 'ENOENT'].includes(causeCode(error))) return { uid, gid, name: null };
    throw error;
  } finally {
    process.seteuid?.(0);
  }
}

// Owners of paths.

/** `stats` of `path` itself; the target of a symbolic link is another step. */
type Step = { readonly path: string; readonly stats: Stats };

/**
 * A way that was walked: `folder`, an open descriptor, is the last folder of it; `name` is what the path names in it,
 * `.` for the folder itself; `missing` are the names from the first that is not there.
 */
type Way = {
  readonly steps: readonly Step[];
  readonly folder: number;
  readonly name: string;
  readonly missing: readonly string[];
};

/** A path where nothing is, for everyone. */
export const nowhere = '/proc/self/fd/-/missing';
const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

function stepPath(folder: number, name = '.'): string {
  return `/proc/self/fd/${folder}/${name}`;
}

function pathOwner(path: string, { steps }: Way): Stats {
  const last = steps.at(-1);
  if (last === undefined || last.stats.isDirectory()) return commonOwner(path, steps);
  // The folder alone decides who can exchange a file, unless others may create one in it.
  const folder = steps.findLast(({ stats }) => stats.isDirectory());
  const isOwnersAlone = folder === undefined || !isShared(folder.stats);
  return commonOwner(path, isOwnersAlone && !last.stats.isSymbolicLink() ? steps.slice(0, -1) : steps);
}

function folderOwner(folder: string): Stats {
  const way = walk(folder, false);
  closeSync(way.folder);
  const own = way.missing.length > 0 ? null : (way.steps.at(-1)?.stats ?? null);
  if (own !== null && !own.isDirectory()) {
    const what = own.isSymbolicLink() ? 'is a symbolic link' : 'is no folder';
    const hint = `Name the folder itself: readlink -f ${shellArg(folder)}`;
    throw new Failure('refused', `data_dir ${folder} ${what}: root does not use it`, { hint });
  }
  refuseSharedPlace(`data_dir ${folder}`, way);
  const owner = commonOwner(folder, way.steps);
  if (own !== null && own.uid === 0 && (own.mode & writableByGroup) !== 0) throw changeable(folder, folder);
  if (own === null || own.uid === owner.uid) return own ?? owner;
  const hint = `Give it to the user of the folders above it: chown -R ${owner.uid} ${shellArg(folder)}`;
  throw new Failure('refused', `data_dir ${folder} belongs to root, but lies in a folder of user ${owner.uid}`, {
    hint,
  });
}

/** A name that is missing in a shared folder may be any user's a moment later. */
function refuseSharedPlace(what: string, { steps, missing }: Way): void {
  const folder = steps.at(-1);
  if (missing.length === 0 || folder?.stats.isDirectory() !== true || !isShared(folder.stats)) return;
  const hint = `Create it first: other users may create one in ${folder.path}.`;
  throw new Failure('refused', `${what} does not exist, and root creates none in a shared folder`, { hint });
}

/** The only owner who is not root, else root. */
function commonOwner(path: string, steps: readonly Step[]): Stats {
  const [first, ...others] = steps.filter(({ stats }) => stats.uid !== 0);
  const other = others.find(({ stats }) => stats.uid !== first?.stats.uid);
  if (first !== undefined && other !== undefined) {
    const both = `${first.path} belongs to user ${first.stats.uid}, ${other.path} to user ${other.stats.uid}`;
    const hint = `Root uses no path that two users can change: ls -ld ${shellArg(first.path)} ${shellArg(other.path)}`;
    throw new Failure('refused', `${path}: ${both}`, { hint });
  }
  const open = steps.find(({ stats }) => isChangeable(stats, first === undefined));
  if (open !== undefined) throw changeable(path, open.path);
  return (first ?? steps[0])?.stats ?? lstatSync(sep);
}

/** Others than its owner may create names in it, and only the owner of each may exchange it (sticky), or anyone. */
function isShared({ mode }: Stats): boolean {
  return (mode & writableByAll) !== 0 || ((mode & sticky) !== 0 && (mode & writableByGroup) !== 0);
}

/** In a sticky folder the owners of its entries decide. A group counts where root would act, also root's own group. */
function isChangeable(stats: Stats, isForRoot: boolean): boolean {
  if (!stats.isDirectory() || (stats.mode & sticky) !== 0) return false;
  return isShared(stats) || (isForRoot && (stats.mode & writableByGroup) !== 0);
}

function changeable(path: string, at: string): Failure {
  const hint = `Restrict it: chmod go-w ${shellArg(at)}; then check it for files of others.`;
  const where = at === path ? '' : `${path}: `;
  return new Failure('refused', `${where}${at} is writable by users other than its owner`, { hint });
}

/** Opens each folder in the one before. `follows`: also a link as the last name. Throws `refused`. */
function walk(path: string, follows = true): Way {
  let folder = openSync(sep, folderFlags);
  const steps: Step[] = [{ path: sep, stats: fstatSync(folder) }];
  const names = namesOf(path);
  try {
    refuseWithoutProc(folder);
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      const stats = lstatOrNull(stepPath(folder, name));
      const isLast = names.length === 0;
      if (stats === null) return { steps, folder, name, missing: [name, ...names] };
      const step = { path: join(pathOf(folder), name), stats };
      if (stats.isDirectory()) {
        folder = replaced(folder, stepPath(folder, name));
        steps.push({ ...step, stats: fstatSync(folder) });
      } else if (stats.isSymbolicLink() && (follows || !isLast)) {
        steps.push(step);
        refuseManyLinks(path, steps);
        const target = readlinkSync(stepPath(folder, name));
        if (isAbsolute(target)) folder = replaced(folder, sep);
        names.unshift(...namesOf(target));
      } else return { steps: [...steps, step], folder, name, missing: isLast ? [] : [name, ...names] };
    }
    return { steps, folder, name: '.', missing: [] };
  } catch (error) {
    closeSync(folder);
    throw error;
  }
}

function refuseWithoutProc(folder: number): void {
  if (lstatOrNull(stepPath(folder)) !== null) return;
  const hint = 'Mount it: mount -t proc proc /proc; or run the command as the user of the daemon.';
  throw new Failure('refused', 'root opens paths through /proc, which is not mounted', { hint });
}

function refuseManyLinks(path: string, steps: readonly Step[]): void {
  if (steps.filter(({ stats }) => stats.isSymbolicLink()).length > linksMax)
    throw new Failure('refused', `${path} has more than ${linksMax} symbolic links`);
}

function pathOf(folder: number): string {
  return readlinkSync(`/proc/self/fd/${folder}`);
}

function replaced(folder: number, path: string): number {
  try {
    const next = openSync(path, folderFlags);
    closeSync(folder);
    return next;
  } catch (error) {
    const above = pathOf(folder);
    const why = `a folder in ${above} cannot be opened, or changed meanwhile (${causeCode(error)})`;
    throw new Failure('refused', why, { hint: `Check it: ls -la ${shellArg(above)}`, cause: error });
  }
}

function namesOf(path: string): string[] {
  return path.split(sep).filter((name) => name !== '' && name !== '.');
}

/** null: nothing is there. */
function lstatOrNull(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(causeCode(error))) return null;
    throw error;
  }
}

/** The error of an opened path, with the path that was named. */
function withShownPath(error: unknown, own: string, shown: string): unknown {
  if (!isFailure(error)) return error;
  const { code, message, hint } = error;
  if (!message.includes(own) && hint?.includes(own) !== true) return error;
  const more = hint === null ? {} : { hint: hint.replaceAll(own, shown) };
  return new Failure(code, message.replaceAll(own, shown), { ...more, cause: error });
}
