/** The states that are pictured, brought about one after the other by the forms of the page and by commands. */
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import {
  type AdminScene,
  bothBoxes,
  encryptionPath,
  mustRun,
  type SignedIn,
  untilSwitch,
} from '../admin/admin-scene.ts';
import { until } from '../support/promises.ts';

/** Takes the page unchanged, under a name. */
export type Shot = (name: string) => Promise<void>;

type Parts = {
  readonly scene: AdminScene;
  readonly page: Page;
  readonly ada: SignedIn;
  readonly shoot: Shot;
};

const subjects = [
  'The printer on floor 2 is out of toner',
  'Invoice 4711 has the wrong address',
  'Where is my parcel?',
];

export async function takeStory(parts: Parts): Promise<void> {
  await messages(parts);
  await off(parts);
  await on(parts);
  await askedToSwitchOff(parts);
  await broken(parts);
}

async function open({ scene, page }: Parts, path: string): Promise<void> {
  await page.goto(`${scene.address}${path}`);
}

/** Some become tickets; those from addresses of the helpdesk itself wait in quarantine. */
async function messages(parts: Parts): Promise<void> {
  const { scene, ada, shoot } = parts;
  const { users, dovecot } = scene;
  for (const [index, user] of users.entries()) {
    const from = (sender: string, subject: string, number: number) =>
      Buffer.from(
        `From: Ada <${sender}>\r\nTo: ${user}\r\nSubject: ${subject}\r\nMessage-ID: <${index}-${number}@example.test>\r\n\r\nHello\r\n`,
      );
    const all = Array.from({ length: 3 + index * 2 }, (_, number) =>
      from(`customer${index}-${number}@example.test`, subjects[number % subjects.length] ?? '', number),
    );
    const held = index < 2 ? [from(user, 'Please call this customer back', 99)] : [];
    await dovecot.append(user, 'INBOX', [...all, ...held]);
  }
  await scene.rows(`update mailboxes set folder = 'Tickets' where name = 'press'`);
  const count = users.length * 3 + users.length * (users.length - 1);
  await until(
    'the tickets are there',
    async () => Number((await scene.rows('select count(*) from ticket'))[0]) >= count - 7,
  );
  await until(
    'two messages wait',
    async () => (await scene.rows(`select count(*) from outcome where outcome = 'quarantined'`))[0] === '2',
  );
  await until('one fails', async () => (await ada.get('/admin/mailboxes?show=failing')).text.includes('press'));
  await open(parts, '/admin/overview');
  await shoot('overview');
  await open(parts, '/admin/mailboxes');
  await shoot('mailboxes');
  await open(parts, '/admin/mailboxes/add');
  await shoot('mailbox-add');
  await open(parts, '/admin/quarantine');
  await shoot('quarantine');
}

async function off(parts: Parts): Promise<void> {
  await open(parts, encryptionPath);
  await parts.shoot('off');
}

async function on(parts: Parts): Promise<void> {
  const { scene, ada, shoot } = parts;
  await ada.form('server/encryption/enable', bothBoxes);
  await untilSwitch(scene, 'on');
  await until('it is over', async () => (await scene.rows('select state from admin_operation'))[0] === 'done');
  await open(parts, encryptionPath);
  await shoot('on');
  const [{ key_ids: ids } = {}] = await scene.json(['key', 'show', '--json']);
  await ada.form('server/encryption/verify-backup', { key_ids: String(ids) });
  await ada.get(encryptionPath);
  await open(parts, encryptionPath);
  await shoot('on-verified');
}

async function askedToSwitchOff(parts: Parts): Promise<void> {
  const { scene, ada, shoot } = parts;
  await writeFile(join(scene.dataDir, 'can-disable-encryption.txt'), '');
  await ada.form('server/encryption/request-disable');
  await ada.formThenPage('server/encryption/confirm-disable');
  await open(parts, encryptionPath);
  await shoot('proof-stale');
  await ada.formThenPage('server/encryption/cancel-disable');
}

async function broken(parts: Parts): Promise<void> {
  const { scene, ada, shoot } = parts;
  await rename(scene.keyFile, `${scene.keyFile}.away`);
  await until('it is orphaned', async () => (await ada.get(encryptionPath)).text.includes('only in memory'));
  await open(parts, encryptionPath);
  await shoot('orphaned');
  await mustRun(scene.command(['key', 'recover']));
}
