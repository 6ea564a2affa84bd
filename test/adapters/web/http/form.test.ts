/** Form parser: valid and invalid bodies, and that no password remains. */
import { expect, test } from 'vitest';
import { readForm } from '../../../../src/adapters/web/http/form.ts';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

function texts(body: string): Record<string, string> | null {
  const form = readForm(bytes(body));
  return form === null ? null : Object.fromEntries(form.fields);
}

test('texts are decoded as UTF-8, with plus for a space', () => {
  expect(texts('name=J%C3%BCrgen+%e2%82%ac&id=a%2Fb%3D&empty=&bare')).toEqual({
    ...{ name: 'Jürgen €', id: 'a/b=', empty: '', bare: '' },
  });
  expect(texts('')).toEqual({});
  expect(texts('a=1&&b=2&')).toEqual({ a: '1', b: '2' });
  expect(texts('a=b=c')).toEqual({ a: 'b=c' });
});

test.each([
  ...[
    'a=1&a=2',
    'a=%',
    'a=%4',
    'a=%4g',
    'a=%ff',
    'a=\xff',
    'a=%00',
    'a=%0d%0a',
    'a=%7f',
    'A=1',
    'a%00=1',
    '=1',
    'a[]=1',
  ],
  ...['password=%zz', 'password=1&password=2', `${'a'.repeat(41)}=1`, '__proto__x1=1', 'a=%c0%af', 'a=%ed%a0%80'],
])('%j is no form', (body) => {
  expect(texts(body)).toBeNull();
});

test('50 fields are the most, the password among them', () => {
  const fields = Array.from(
    { length: 50 },
    (_, index) => `f_${'abcdefgh'.charAt(index / 8)}${'abcdefgh'.charAt(index % 8)}=`,
  );
  expect(Object.keys(texts(fields.join('&')) ?? {})).toHaveLength(50);
  expect(texts([...fields, 'more='].join('&'))).toBeNull();
  expect(texts([...fields, 'password='].join('&'))).toBeNull();
});

test('the password is bytes, whatever they are, and the body is wiped', () => {
  const body = bytes('name=ada&password=p%C3%A4+%ff%00%25%2b');
  const form = readForm(body);
  expect(form?.password?.use((found) => [...found])).toEqual([...Buffer.from('pä '), 0xff, 0, ...Buffer.from('%+')]);
  expect(form?.fields.has('password')).toBe(false);
  expect(body.every((byte) => byte === 0)).toBe(true);
});

test('what is no form is wiped as well', () => {
  const body = bytes('password=secret&name=%zz');
  expect(readForm(body)).toBeNull();
  expect(body.every((byte) => byte === 0)).toBe(true);
});
