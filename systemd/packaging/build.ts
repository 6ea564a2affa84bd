/** Build command (`npm run build`): the program folder `dist/program/`, which every package contains. */
import { runCommand } from './command.ts';
import { makeProgramFolder } from './program-folder.ts';

await runCommand('build', async () => {
  const { path, files, bytes } = await makeProgramFolder();
  process.stdout.write(`${path}: ${files} files, ${(bytes / 1e6).toFixed(1)} MB\n`);
});
