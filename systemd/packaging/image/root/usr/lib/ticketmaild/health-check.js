/**
 * Liveness check of the image (HEALTHCHECK): exit code 0 when the daemon answers `GET /livez` within 3 s, else 1.
 *
 * It asks 127.0.0.1 at port 8025, or at the one in TICKETMAILD_HTTP_LISTEN.
 *
 * Not readiness: a missing database or mail server needs no restart, and orchestrators restart what is unhealthy.
 */
import { get } from 'node:http';

const [port = '8025'] = process.env.TICKETMAILD_HTTP_LISTEN?.match(/\d+$/) ?? [];
const request = get({ host: '127.0.0.1', port, path: '/livez', timeout: 3000 }, (response) => {
  response.resume();
  end(response.statusCode === 200 ? 0 : 1, `/livez: ${response.statusCode}`);
});
request.on('timeout', () => end(1, '/livez: no answer within 3 s'));
request.on('error', (error) => end(1, `/livez: ${error.message}`));

/** Engines keep the line with the state of the container. */
function end(exitCode, line) {
  process.stdout.write(`${line}\n`, () => process.exit(exitCode));
}
