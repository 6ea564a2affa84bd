/** Replaces the key file of a folder again and again, until it fails or is killed: node writer.ts FOLDER. */
import { randomFillSync } from 'node:crypto';
import { createKeyFile } from '../../../src/adapters/keyfile/key-file.ts';
import { asFailure } from '../../../src/errors.ts';
import { generateKey } from '../../../src/secret/key.ts';

const [, , dataDir = ''] = process.argv;
const keyFile = createKeyFile({ dataDir, passphrase: async () => null, nowMs: Date.now });

async function replaceForEver(): Promise<never> {
  while (true) {
    const count = 1 + Math.floor(Math.random() * 8);
    await keyFile.replace(Array.from({ length: count }, () => generateKey((bytes) => randomFillSync(bytes))));
  }
}

process.stdout.write('ready\n');
await replaceForEver().catch((error: unknown) => process.stdout.write(`${asFailure(error).code}\n`));
