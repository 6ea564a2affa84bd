/**
 * Looks for the password in the memory of the running daemon, and in a core dump of it: what a crash would give away.
 *
 * Real Dovecot and real database; the password of every mailbox is a canary, half of the mailboxes log in over TLS and
 * half in clear. Each scene is a process of its own. The control logs in as imapflow documents it and must be found: a
 * search that finds nothing there proves nothing. Fails when a command fails or a round of polls does not end.
 */
import { newCanary } from '../../support/leaks/canary.ts';
import { startDovecot } from '../../support/servers/dovecot.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { addMailboxes, mailboxOn, type NewRow } from '../many-mailboxes.ts';
import { enable, openSetting, type Setting } from '../setting.ts';
import { controlScene } from './control-scene.ts';
import {
  daemonEnv,
  goOn,
  type Place,
  type SceneReport,
  sceneAtRest,
  sceneAtWork,
  startSearchable,
  untilPolled,
} from './memory-scene.ts';
import { refusedScene } from './refused-scene.ts';

/** All scenes, one after the other. `mailboxes` over TLS and as many in clear. */
export async function coreDumpRun(
  mariadb: Mariadb | null,
  mailboxes: number,
  progress: (line: string) => void,
): Promise<readonly SceneReport[]> {
  const canary = newCanary();
  await using dovecot = await startDovecot({ password: canary });
  const place: Place = { dovecot, mariadb, canary, mailboxes, progress };
  const reports: SceneReport[] = [];
  for (const scene of [enabledBefore, enabledMeanwhile, controlScene, refusedScene])
    reports.push(...(await scene(place)));
  return reports;
}

async function enabledBefore(place: Place): Promise<readonly SceneReport[]> {
  await using setting = await filledSetting(place);
  await setting.succeed(enable);
  await using daemon = startSearchable(setting);
  place.progress('enabled before the start: two rounds of polls');
  await untilPolled(daemon, 2 * place.mailboxes, 2);
  const atWork = await sceneAtWork('enabled before the start, amid logins', daemon, place.canary);
  return [
    atWork,
    await sceneAtRest('enabled before the start', daemon, setting, { canary: place.canary, stored: 'sealed' }),
  ];
}

async function enabledMeanwhile(place: Place): Promise<readonly SceneReport[]> {
  await using setting = await filledSetting(place);
  await using daemon = startSearchable(setting);
  place.progress('enabled while it runs: a round with readable passwords');
  await untilPolled(daemon, 2 * place.mailboxes, 1);
  const before = await sceneAtRest('readable, before enable', daemon, setting, {
    canary: place.canary,
    stored: 'readable',
  });
  await setting.succeed(enable);
  await goOn(setting);
  place.progress('enabled while it runs: a round with sealed passwords');
  await untilPolled(daemon, 2 * place.mailboxes, 1);
  return [
    before,
    await sceneAtRest('enabled while it runs', daemon, setting, { canary: place.canary, stored: 'sealed' }),
  ];
}

async function filledSetting(place: Place): Promise<Setting> {
  const { dovecot, mariadb, canary, mailboxes } = place;
  const setting = await openSetting(mariadb, daemonEnv);
  const rows: NewRow[] = [];
  for (let index = 0; index < mailboxes; index += 1) {
    rows.push(
      mailboxOn(dovecot, 'implicit', `tls-${index}`, canary),
      mailboxOn(dovecot, 'none', `clear-${index}`, canary),
    );
  }
  await addMailboxes(setting.databaseUrl, rows);
  return setting;
}
