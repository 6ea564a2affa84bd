/**
 * The health endpoints: `/livez` says that the process turns, `/readyz` whether it can do its job.
 *
 * Fastify; GET and HEAD only, no bodies, short time limits, nothing of the request is logged or echoed. An address
 * that is taken is `address_in_use`.
 */
import fastify from 'fastify';
import { causeCode, Failure } from '../../errors.ts';
import type { Readiness } from '../../ingest/health.ts';
import type { HttpServer } from '../../ingest/ports.ts';

export type HttpOptions = { readonly host: string; readonly port: number };

/** Listens; resolves with the address that was bound. `ready` is asked at every request to `/readyz`. */
export async function startHttp(options: HttpOptions, ready: () => Promise<Readiness>): Promise<HttpServer> {
  const server = fastify({
    logger: false,
    bodyLimit: 1024,
    requestTimeout: 10_000,
    connectionTimeout: 30_000,
    forceCloseConnections: true,
  });
  server.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
  });
  server.get('/livez', async () => ({ status: 'ok' }));
  server.get('/readyz', async (_request, reply) => {
    const readiness = await ready();
    return reply.code(readiness.ready ? 200 : 503).send(readiness);
  });
  try {
    const address = await server.listen({ host: options.host, port: options.port });
    return { address, [Symbol.asyncDispose]: () => server.close() };
  } catch (error) {
    await server.close();
    throw refused(options, error);
  }
}

/** Any reason but a taken address lies in what was configured: a port below 1024, an address of another machine. */
function refused({ host, port }: HttpOptions, error: unknown): Failure {
  const code = causeCode(error);
  const message = `cannot listen on ${host}:${port} (${code})`;
  if (code === 'EADDRINUSE') return new Failure('address_in_use', message, { cause: error });
  return new Failure('config_invalid', message, { cause: error, hint: 'Choose another [http] listen.' });
}
