/**
 * Privilege dropping (setuid(2), permanent and temporary): root opens nothing in a folder that another user controls.
 *
 * Root opens a path as its owner: root where every folder and link on the way is root's, else the one other user whose
 * folders are on it. So a link that this user left there leads to what the user may open anyway. A path with folders of
 * two other users, or with one that anyone or a group can change, has no owner: `refused`. Before the data folder is
 * touched, the process becomes its owner for good. A process that is not root changes nothing.
 */
import { closeSync, fchownSync, lstatSync, openSync, readlinkSync, type Stats } from 'node:fs';
import { userInfo } from 'node:os';
import { isAbsolute, join, resolve, sep } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';
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

/** Descriptors of new folders, given to the user that root becomes. */
export const inheritances: number[] = [];

/**
 * Runs `open` with the absolute path; for root with the rights of its owner, a promise until it settles. Throws
 * `refused`.
 */
export function asPathOwner<T>(path: string, open: (path: string) => T): T {
  const absolute = resolve(path);
  if (!isRoot()) return open(absolute);
  const owner = userOf(pathOwner(absolute));
  if (owner.uid === 0) return open(absolute);
  const restore = actAs(owner);
  let isPending = false;
  try {
    const result = open(absolute);
    if (!(result instanceof Promise)) return result;
    isPending = true;
    return result.finally(restore) as T;
  } finally {
    if (!isPending) restore();
  }
}

/**
 * Becomes the owner of the data folder for good, with that user's groups and without any capability; where it is
 * missing, the owner of the path to it. `program`: a file of this program, which that user must be able to read. False:
 * it stays the same user. Throws `refused`.
 */
export function becomeFolderOwner(folder: string, program: string): boolean {
  return isRoot() && become(userOf(folderOwner(folder)), folder, program);
}

/** The same for the owner of any path. */
export function becomePathOwner(path: string, program: string): boolean {
  return isRoot() && become(userOf(pathOwner(resolve(path))), path, program);
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

/** Returns what undoes it. */
function actAs({ uid, gid, name }: User): () => void {
  const [groups, ownGid] = [process.getgroups?.() ?? [], process.getegid?.() ?? 0];
  const restore = (): void => {
    process.seteuid?.(0);
    process.setegid?.(ownGid);
    process.setgroups?.(groups);
  };
  try {
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

function pathOwner(path: string): Stats {
  const steps = stepsOf(path);
  const last = steps.at(-1);
  if (last === undefined || last.stats.isDirectory()) return commonOwner(path, steps);
  // The folder alone decides who can exchange a file, unless anyone may create one in it.
  const folder = steps.findLast(({ stats }) => stats.isDirectory());
  const isShared = folder !== undefined && (folder.stats.mode & writableByAll) !== 0;
  return commonOwner(path, isShared || last.stats.isSymbolicLink() ? steps : steps.slice(0, -1));
}

function folderOwner(folder: string): Stats {
  const own = lstatOrNull(folder);
  if (own !== null && !own.isDirectory()) {
    const what = own.isSymbolicLink() ? 'is a symbolic link' : 'is no folder';
    const hint = `Name the folder itself: readlink -f ${shellArg(folder)}`;
    throw new Failure('refused', `data_dir ${folder} ${what}: root does not use it`, { hint });
  }
  const owner = commonOwner(folder, stepsOf(folder));
  if (own !== null && own.uid === 0 && isGroupsOwn(own)) throw changeable(folder, folder);
  if (own === null || own.uid === owner.uid) return own ?? owner;
  const hint = `Give it to the user of the folders above it: chown -R ${owner.uid} ${shellArg(folder)}`;
  throw new Failure('refused', `data_dir ${folder} belongs to root, but lies in a folder of user ${owner.uid}`, {
    hint,
  });
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

/** In a sticky folder the owners of its entries decide. A group counts where root would act, unless it is root's. */
function isChangeable(stats: Stats, isForRoot: boolean): boolean {
  if (!stats.isDirectory() || (stats.mode & sticky) !== 0) return false;
  return (stats.mode & writableByAll) !== 0 || (isForRoot && isGroupsOwn(stats));
}

function isGroupsOwn({ mode, gid }: Stats): boolean {
  return (mode & writableByGroup) !== 0 && gid !== 0;
}

function changeable(path: string, at: string): Failure {
  const hint = `Restrict it: chmod go-w ${shellArg(at)}; then check it for files of others.`;
  const where = at === path ? '' : `${path}: `;
  return new Failure('refused', `${where}${at} is writable by users other than its owner`, { hint });
}

/** Every folder and link on the way to `path`, and what is there, up to the first that is missing. */
function stepsOf(path: string): readonly Step[] {
  const steps: Step[] = [{ path: sep, stats: lstatSync(sep) }];
  const names = path.split(sep);
  let [at, links]: [string, number] = [sep, 0];
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    // Also without a name, or with `.` and `..` in the target of a link.
    const next = join(at, name);
    const stats = lstatOrNull(next);
    if (stats === null) break;
    steps.push({ path: next, stats });
    if (!stats.isSymbolicLink()) {
      at = next;
      continue;
    }
    links += 1;
    if (links > linksMax) throw new Failure('refused', `${path} has more than ${linksMax} symbolic links`);
    const target = readlinkSync(next);
    if (isAbsolute(target)) at = sep;
    names.unshift(...target.split(sep));
  }
  return steps;
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
