/**
 * The mail server as the workflows see it: sessions over IMAP (RFC 9051, and RFC 3501 servers), and probes.
 *
 * This folder is the only one that knows imapflow. Connections are not kept: a session ends with its poll.
 */
import type { Sessions } from '../../ingest/ports.ts';
import type { ImapOptions } from './client.ts';
import { Link } from './link.ts';
import { probe } from './probe.ts';
import { openSession } from './session.ts';

/** `options` is asked anew for each connection: deadlines in milliseconds, and the largest mail that may be fetched. */
export function imapSessions(options: () => ImapOptions): Sessions {
  const ignore = (): void => undefined;
  return {
    open: async (connection, password, signal, { readOnly, literalBytesMax } = {}) => {
      const usual = options();
      const chosen = literalBytesMax === undefined ? usual : { ...usual, literalBytesMax };
      const link = await Link.open(connection, password, chosen, signal, ignore);
      return openSession(link, connection, readOnly === true);
    },
    probe: (connection, password, step) => probe(connection, password, options(), step),
  };
}
