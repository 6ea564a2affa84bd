/**
 * Prints how many messages of a thousand simulated conversations find their ticket, by shape.
 *
 *     npm run threads [-- --seed 20261202]
 */
import { parseArgs } from 'node:util';
import { threadProgram } from './thread-program.ts';
import { figuresText, measureThreads } from './thread-run.ts';
import { generateThreads } from './thread-shapes.ts';

const { values } = parseArgs({ options: { seed: { type: 'string', default: '20261202' } } });
await using stack = new AsyncDisposableStack();
const figures = await measureThreads(generateThreads(Number(values.seed)), await threadProgram(stack));
process.stdout.write(figuresText(figures));
