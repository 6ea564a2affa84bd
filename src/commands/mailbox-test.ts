/**
 * `mailbox test`: probes a stored mailbox, read-only, and says what it found.
 */

import type { ProbeReport } from '../ingest/ports.ts';
import { isoTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { noteTarget, probeJson, probeMailbox } from './mailbox-probe.ts';

/** Throws `not_found`, what keeps its password from being opened, and all that a probe throws. */
export async function testMailbox(options: CommonOptions & { name: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.name);
    await app.vault.refresh();
    const report = await app.passwords.lend(mailbox, (password) =>
      probeMailbox(app, mailbox.connection, password, context),
    );
    noteTarget(mailbox.after, report, context);
    if (options.json === true) await context.terminal.json(probeJson(mailbox.name, report));
    else for (const line of reportLines(mailbox.name, report)) await context.terminal.line(line);
    return 0;
  });
}

function reportLines(name: string, report: ProbeReport): readonly string[] {
  const { certificate, folder } = report;
  const shown =
    certificate === null
      ? ['certificate   none: the connection is not encrypted']
      : [
          `certificate   ${certificate.subject}, from ${certificate.issuer}, until ${isoTime(certificate.validUntilMs)}`,
          `fingerprint   ${certificate.fingerprint}`,
        ];
  return [
    `${name} works`,
    `server        ${report.address}`,
    ...shown,
    `capabilities  ${report.capabilities.join(' ')}`,
    `folder        ${folder.messageCount} messages, next UID ${folder.uidNext}, UIDVALIDITY ${folder.uidValidity}`,
    `folders       ${report.folders.join(', ')}`,
  ];
}
