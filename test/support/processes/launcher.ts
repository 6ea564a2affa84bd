/**
 * Launcher of the program under test: that of the sources, or of a build that `PROGRAM_UNDER_TEST` names
 * (`dist/program/ticketmaild.js`), relative to the checkout.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const checkout = fileURLToPath(new URL('../../..', import.meta.url));

/** Script for Node; its arguments are a command and those of the command. */
export const launcher = resolve(checkout, process.env['PROGRAM_UNDER_TEST'] ?? 'src/ticketmaild.js');

if (!existsSync(launcher)) throw new Error(`there is no ${launcher}: run npm run build, or unset PROGRAM_UNDER_TEST`);
