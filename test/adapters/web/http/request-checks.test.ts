/** Request checks: allowed hosts, origins and trusted proxies. */
import { describe, expect, test } from 'vitest';
import { createAllowedHosts, createTrustedProxies } from '../../../../src/adapters/web/http/request-checks.ts';

const clear = { host: '127.0.0.1', tls: null, origin: null };
const tls = { certificateFile: '/c', keyFile: '/k' };

describe('the name of the page', () => {
  test.each([
    ['localhost:8026', 'http://localhost:8026'],
    ['LOCALHOST', 'http://localhost'],
    ['127.0.0.1:9999', 'http://127.0.0.1:9999'],
    ['127.1.2.3:1', 'http://127.1.2.3:1'],
    ['[::1]:8026', 'http://[::1]:8026'],
    ['localhost:80', 'http://localhost'],
  ])('on loopback may be %s', (host, origin) => {
    expect(createAllowedHosts(clear).originOf(host)).toBe(origin);
  });

  test.each([
    ...[
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.nip.io',
      '10.0.0.5',
      '0.0.0.0',
      '',
      'localhost:',
      'localhost:x',
    ],
    ...[
      'localhost:65536',
      'a@localhost',
      'localhost/',
      'localhost,localhost',
      '2130706433',
      '0x7f.1',
      '127.1',
      '[::ffff:127.0.0.1]',
    ],
    ...['localhost.', ' localhost', '[::1', '[localhost]', 'localhost#', 'localhost\\', '%6cocalhost'],
  ])('on loopback may not be %j', (host) => {
    expect(createAllowedHosts(clear).originOf(host)).toBeNull();
  });

  test('is that of the listening address elsewhere', () => {
    const place = createAllowedHosts({ host: 'Desk.example.org', tls, origin: null });
    expect(place).toMatchObject({ isSecure: true });
    expect(place.originOf('desk.example.org:8026')).toBe('https://desk.example.org:8026');
    expect(place.originOf('localhost:8026')).toBeNull();
    const numeric = createAllowedHosts({ host: 'fd00::5', tls, origin: null });
    expect(numeric.originOf('[FD00::5]:443')).toBe('https://[fd00::5]');
  });

  test('is the origin alone where there is one', () => {
    const place = createAllowedHosts({ ...clear, origin: 'https://desk.example.org' });
    expect(place.isSecure).toBe(true);
    expect(['desk.example.org', 'DESK.example.org:443'].map((host) => place.originOf(host))).toEqual([
      ...['https://desk.example.org', 'https://desk.example.org'],
    ]);
    expect(['desk.example.org:8443', 'localhost', '127.0.0.1:8026'].map((host) => place.originOf(host))).toEqual([
      ...[null, null, null],
    ]);
    expect(createAllowedHosts({ ...clear, origin: 'http://localhost:9000' })).toMatchObject({ isSecure: false });
  });
});

describe('the client', () => {
  test('is the peer where no proxy is named, whatever a header says', () => {
    const peers = createTrustedProxies([]);
    expect(peers.mayConnect('198.51.100.7')).toBe(true);
    expect(peers.clientAddress('::ffff:198.51.100.7', ['10.9.9.9'])).toBe('198.51.100.7');
  });

  test('is the last one that is no proxy', () => {
    const peers = createTrustedProxies(['10.0.0.7', 'fd00:0::7']);
    expect(peers.clientAddress('10.0.0.7', [])).toBe('10.0.0.7');
    expect(peers.clientAddress('10.0.0.7', ['198.51.100.1'])).toBe('198.51.100.1');
    expect(peers.clientAddress('10.0.0.7', ['1.2.3.4, 198.51.100.1,FD00::7'])).toBe('198.51.100.1');
    expect(peers.clientAddress('10.0.0.7', ['1.2.3.4', '::ffff:198.51.100.1'])).toBe('198.51.100.1');
    expect(peers.clientAddress('10.0.0.7', ['<script>, 2001:db8::1'])).toBe('2001:db8::1');
  });

  test.each([
    '',
    'unknown',
    '198.51.100.1:443',
    '[2001:db8::1]',
    '198.51.100.1,',
    '198.51.100.1, x',
    '1.2.3',
    'fe80::1%eth0x y',
  ])('is unknown when a proxy writes %j', (header) => {
    expect(createTrustedProxies(['10.0.0.7']).clientAddress('10.0.0.7', [header])).toBeNull();
  });

  test('may connect only as a proxy where any is named', () => {
    const peers = createTrustedProxies(['10.0.0.7', 'fd00::7']);
    expect(['10.0.0.7', '::ffff:10.0.0.7', 'fd00:0:0::7'].every((one) => peers.mayConnect(one))).toBe(true);
    expect(['10.0.0.8', '127.0.0.1', '', 'fd00::8'].some((one) => peers.mayConnect(one))).toBe(false);
  });

  test.each(['127.0.0.1', '::1'])('may connect from both addresses of localhost where %s is a proxy', (proxy) => {
    const peers = createTrustedProxies([proxy]);
    expect(['127.0.0.1', '::1', '10.0.0.7'].map((one) => peers.mayConnect(one))).toEqual([true, true, false]);
  });
});

describe('a unix socket', () => {
  const proxies = createTrustedProxies(['10.0.0.7'], true);

  test('is for the proxy: the client is the last address that is no proxy', () => {
    expect(proxies.mayConnect('')).toBe(true);
    expect(proxies.clientAddress('', ['192.0.2.66, 203.0.113.5, 10.0.0.7'])).toBe('203.0.113.5');
    expect(proxies.connectionGroup('')).toBeNull();
  });

  test.each([[[]], [['']], [['unknown']], [['203.0.113.5, ']]])(
    'without a client address is refused: %j',
    (forwarded) => {
      expect(proxies.clientAddress('', forwarded)).toBeNull();
    },
  );

  test('trusts no address of TCP but the named proxies', () => {
    expect(['10.0.0.7', '127.0.0.1'].map((address) => proxies.mayConnect(address))).toEqual([true, false]);
    expect(createTrustedProxies(['10.0.0.7']).mayConnect('')).toBe(false);
  });
});
