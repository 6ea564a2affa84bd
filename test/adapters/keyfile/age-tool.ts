/** The age tool, which asks for a passphrase at a terminal: script of util-linux is that terminal. */
import { spawn } from 'node:child_process';
import { ended, findProgram } from '../../support/servers/programs.ts';

const prompt = /assphrase[^:]*:/g;

/** Runs age with `args`; types `passphrase` as often as it is asked for. Throws with what it printed when it fails. */
export async function runAge(args: readonly string[], passphrase: string): Promise<void> {
  const age = findProgram('age');
  const script = findProgram('script');
  if (age === null || script === null) throw new Error('age or script is not installed: npm test installs them');
  const command = [age, ...args].map((word) => `'${word}'`).join(' ');
  const child = spawn(script, ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  let answered = 0;
  child.stdout.on('data', (piece: Buffer) => {
    output += piece.toString();
    for (const asked = output.match(prompt)?.length ?? 0; answered < asked; answered += 1) {
      child.stdin.write(`${passphrase}\n`);
    }
  });
  child.stderr.on('data', (piece: Buffer) => {
    output += piece.toString();
  });
  const code = await ended(child);
  child.stdin.destroy();
  if (code !== 0) throw new Error(`age ${args.join(' ')} ended with ${code}: ${output}`);
}
