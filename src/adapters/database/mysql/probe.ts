/**
 * Liveness probe of a MySQL server that leaves a statement unanswered: a new login on a connection of its own.
 *
 * A frozen machine or process still accepts connections and stays silent, as a dead network does. A statement without
 * an answer cannot distinguish that from hard work; a new login can.
 */
import { Failure, isFailure } from '../../../errors.ts';
import { MysqlConnection } from './connection.ts';
import { type MysqlConfig, type MysqlLimits, type MysqlServer, serverName } from './options.ts';

/** Too many connections, in all or of one user: only a live server can answer that. */
const tooManyConnections: ReadonlySet<unknown> = new Set([1040, 1203, 1226]);

/**
 * null: the server completes a login within the connect timeout. Else the failure for the statements that wait for
 * it.
 */
export async function probeFailure(
  config: MysqlConfig,
  server: MysqlServer,
  limits: MysqlLimits,
): Promise<Failure | null> {
  try {
    const connection = await MysqlConnection.open(config, server, limits);
    await connection.close();
    return null;
  } catch (error) {
    if (!isFailure(error)) throw error;
    if (error.code !== 'database_unavailable' || tooManyConnections.has(error.fields.errno)) return null;
    const cause = error.fields.cause ?? 'unknown';
    const message = `The database at ${serverName(server)} left a statement without an answer, and a new login failed (${cause}).`;
    return new Failure('database_unavailable', message, { fields: { cause: 'silent' } });
  }
}
