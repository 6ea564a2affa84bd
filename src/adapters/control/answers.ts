/**
 * Schemas of the answers on the control socket (zod): the daemon may be of another version, or broken into.
 *
 * Every value has its type, codes and levels are those of this program, and texts are one printable line, in part
 * quoted as words of the daemon. Unknown keys are dropped.
 */

import * as z from 'zod/mini';
import { Failure, type FailureCode, failureMeanings } from '../../errors.ts';
import { logLevels } from '../../events.ts';
import { quotedWords } from './protocol.ts';

const line = z.string().check(z.maxLength(1_000), z.regex(/^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]*$/u));
const lineOrNull = z.nullable(line);
const count = z.int().check(z.minimum(0));
const keyIds = z.array(z.string().check(z.regex(/^[0-9a-f]{16}$/)));
const time = z.iso.datetime();
const code = z.enum(Object.keys(failureMeanings) as [FailureCode, ...FailureCode[]]);
const level = z.enum(logLevels);
const words = z.pipe(line, z.transform(quotedWords));
const unopened = z.object({ mailbox: z.optional(line), grant: z.optional(line), code, message: words });

export const recoverSchema = z.object({ path: line, key_ids: keyIds, set_aside: lineOrNull, recorded: z.boolean() });

export const disableSchema = z.union([
  z.object({
    state: z.literal('requested'),
    ...{ requested_at: time, expires_at: time, proof_path: line, problem: z.nullable(words) },
  }),
  z.object({
    state: z.enum(['off', 'disabling']),
    ...{
      was_off: z.boolean(),
      unsealed: count,
      unsealed_tokens: count,
      unopened_count: count,
      unopened: z.array(unopened),
    },
    set_aside: lineOrNull,
  }),
]);

export const logLevelSchema = z.object({
  ...{ pid: count, before: level, level },
  worker: z.string().check(z.regex(/^[a-z0-9-]{0,16}$/)),
});

/** Throws `daemon_unreachable` for an answer of another form. */
export function checkedAnswer<T extends z.ZodMiniType>(schema: T, answer: unknown, path: string): z.output<T> {
  const result = schema.safeParse(answer);
  if (result.success) return result.data;
  const wrong = result.error.issues[0]?.path.join('.') ?? '';
  const hint = 'Compare the versions (ticketmaild --version), and restart the daemon.';
  const where = wrong === '' ? '' : ` at ${wrong}`;
  throw new Failure('daemon_unreachable', `the answer of the daemon at ${path} has another form${where}`, { hint });
}
