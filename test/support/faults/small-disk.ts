/** Small disk: a file system of 48 MB in memory, which warns that it is small and works. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from '../servers/programs.ts';
import { temporaryFolder } from '../temporary.ts';

/** Mounts one; takes root. */
export async function smallDisk(): Promise<{ readonly path: string } & AsyncDisposable> {
  const folder = await temporaryFolder('disk');
  const path = join(folder.path, 'data');
  await mkdir(path);
  await runProgram('mount', ['-t', 'tmpfs', '-o', 'size=48m,mode=0700', 'full', path]);
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      // A test that failed may have left a read-only view on top of it.
      while ((await readFile('/proc/self/mounts', 'utf8')).includes(` ${path} `))
        await runProgram('umount', ['--lazy', path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}
