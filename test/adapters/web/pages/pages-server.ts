/**
 * A tiny server for the pages of views.ts, with the headers and assets of the real one, for tests with a browser.
 *
 * `/view/NAME` is a page of views.ts; what other addresses answer, a test says. Forms that are sent are kept.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { readAssets } from '../../../../src/adapters/web/assets.ts';
import { securityHeaders } from '../../../../src/adapters/web/site.ts';
import { pages } from './views.ts';

export type Sent = { readonly path: string; readonly contentType: string; readonly body: string };

export type PagesServer = AsyncDisposable & {
  /** `http://127.0.0.1:PORT`. */
  readonly origin: string;
  /** Forms that were sent, in their order. */
  readonly sent: Sent[];
  /** Paths with their query that were asked for, assets apart. */
  readonly asked: string[];
  /** By path, without the query: the page, or where it leads to. */
  readonly answers: Map<string, () => string | { readonly to: string }>;
};

export async function startPagesServer(): Promise<PagesServer> {
  const { byPath } = await readAssets();
  const sent: Sent[] = [];
  const asked: string[] = [];
  const answers: PagesServer['answers'] = new Map();
  for (const [name, make] of Object.entries(pages)) answers.set(`/view/${name}`, make);
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [path = ''] = (request.url ?? '').split('?');
    const asset = byPath.get(path);
    if (asset !== undefined) return send(response, 200, Buffer.from(asset.bytes), asset.contentType);
    if (request.method === 'POST') {
      sent.push({ path, contentType: request.headers['content-type'] ?? '', body: await text(request) });
      response.writeHead(303, { ...securityHeaders(false), location: '/view/on-verified' }).end();
      return;
    }
    asked.push(request.url ?? '');
    const found = answers.get(path)?.() ?? null;
    if (found !== null && typeof found !== 'string') {
      response.writeHead(303, { ...securityHeaders(false), location: found.to }).end();
      return;
    }
    send(response, found === null ? 404 : 200, found ?? 'nothing here', 'text/html; charset=utf-8');
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent,
    asked,
    answers,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function send(response: ServerResponse, code: number, body: string | Buffer, contentType: string): void {
  response.writeHead(code, { ...securityHeaders(false), 'content-type': contentType }).end(body);
}
