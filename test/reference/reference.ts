/** `npm run reference`: writes the generated parts of the documents, and lists the files that changed. */

import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { references } from './documents.ts';

for (const { path, current, next } of references()) {
  if (current === next) continue;
  writeFileSync(path, next);
  process.stdout.write(`${relative(process.cwd(), path)}\n`);
}
