/**
 * Scene of an attack on a mailbox row: one Dovecot for the file; for each test commands on a new SQLite file
 * and a user.
 */
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { type CommandLine, openCommandLine } from '../commands/command-line.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';

export type MailboxScene = {
  readonly dovecot: Dovecot;
  readonly cli: CommandLine;
  readonly user: string;
  /** Options of `mailbox add` for the user at this Dovecot. */
  readonly server: readonly string[];
};

/** Call it once, at the top of a file: it registers the hooks. */
export function mailboxScene(): MailboxScene {
  let [dovecot, cli, user]: [Dovecot | null, CommandLine | null, string] = [null, null, ''];
  const there = <T>(part: T | null): T => {
    if (part === null) throw new Error('the scene is used outside a test');
    return part;
  };
  beforeAll(async () => {
    dovecot = await startDovecot();
  });
  afterAll(async () => await dovecot?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    cli = await openCommandLine();
    user = there(dovecot).newUser();
  });
  afterEach(async () => await cli?.[Symbol.asyncDispose]());
  return {
    get dovecot() {
      return there(dovecot);
    },
    get cli() {
      return there(cli);
    },
    get user() {
      return user;
    },
    get server() {
      const { tlsPort, caFile } = there(dovecot);
      return ['--host', 'localhost', '--port', `${tlsPort}`, '--ca-file', caFile, '--user', user];
    },
  };
}
