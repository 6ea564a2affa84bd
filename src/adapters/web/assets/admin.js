/**
 * Script of the admin page, which works without it except for the fingerprints of a backup.
 *
 * It refreshes `main`, shows times in the zone of the browser, copies commands, disables the button of a form until its
 * boxes are ticked, and computes the fingerprints of a copy of the key file, which never leaves the browser.
 */
const main = document.querySelector('#main');
const notice = document.querySelector('#notice');
const live = document.querySelector('#live');
const copyHoldMs = 2000;

document.documentElement.classList.add('script');

/* Automatic refresh at the interval in `main`, while the page is visible and a person does not use it. */

let announced = main.dataset.announce;
let timer = 0;
const flashMs = 8_000;

function scheduleRefresh() {
  clearTimeout(timer);
  const seconds = Number(main.dataset.refresh);
  if (seconds > 0) timer = setTimeout(refresh, seconds * 1000);
}

/** True while a replacement would discard input: typed, chosen, opened, selected or focused. */
function isInUse() {
  if (document.hidden) return true;
  const focused = document.activeElement;
  if (focused !== main && main.contains(focused) && collapsibleOf(focused) === null) return true;
  const selection = getSelection();
  if (!selection.isCollapsed && main.contains(selection.anchorNode)) return true;
  if (main.querySelector('details[open]:not([id])')) return true;
  return [...main.querySelectorAll('input, select, textarea')].some(
    (field) =>
      field.type !== 'hidden' && (field.value !== field.defaultValue || field.checked !== field.defaultChecked),
  );
}

/** A collapsible part with an id keeps its state and its focus across a replacement. */
function collapsibleOf(element) {
  const collapsible = element.closest('summary')?.parentElement;
  return collapsible?.id ? collapsible : null;
}

async function refresh() {
  if (isInUse()) {
    showPause(true);
    return scheduleRefresh();
  }
  showPause(false);
  const address = new URL(location.href);
  address.searchParams.set('refresh', '1');
  try {
    const answer = await fetch(address, { redirect: 'manual', cache: 'no-store', signal: AbortSignal.timeout(15_000) });
    // A redirect leads to the sign-in page.
    if (answer.type === 'opaqueredirect' || answer.status === 401 || answer.status === 403) return signedOut();
    if (!answer.ok) throw new Error(`${answer.status}`);
    const text = await answer.text();
    if (!isInUse()) replaceMain(new DOMParser().parseFromString(text, 'text/html'));
    notify('');
  } catch {
    notify('The daemon does not answer at the moment. Trying again…');
  }
  scheduleRefresh();
}

function replaceMain(page) {
  const next = page.querySelector('#main');
  if (!next) return;
  const open = [...main.querySelectorAll('details[open][id]')].map(({ id }) => id);
  const focused = collapsibleOf(document.activeElement)?.id;
  const { scrollX, scrollY } = window;
  main.replaceChildren(...document.adoptNode(next).childNodes);
  for (const name of ['refresh', 'announce']) {
    if (name in next.dataset) main.dataset[name] = next.dataset[name];
    else delete main.dataset[name];
  }
  for (const id of open) document.getElementById(id)?.setAttribute('open', '');
  if (focused) document.getElementById(focused)?.querySelector('summary').focus({ preventScroll: true });
  window.scrollTo(scrollX, scrollY);
  removeFlash(page.title !== document.title);
  document.title = page.title;
  announce();
  prepare();
}

/** Removes the flash when the state changed, or a good one after 8 seconds. */
function removeFlash(hasChanged) {
  const flash = document.querySelector('.flash');
  if (flash && (hasChanged || (flash.matches('.good') && performance.now() > flashMs))) flash.remove();
}

/** Announces a changed state to screen readers, also the end of an operation. */
function announce() {
  const text = main.dataset.announce ?? document.title;
  if (text !== announced) live.textContent = text;
  announced = text;
}

function notify(text) {
  if (notice.textContent !== text) notice.textContent = text;
  notice.hidden = text === '';
}

/** Removes the content of the page and stops the automatic refresh. */
function signedOut() {
  const [card, heading, text, link] = ['section', 'h1', 'p', 'a'].map((name) => document.createElement(name));
  card.className = 'card';
  heading.textContent = 'Signed out';
  text.textContent = 'You were signed out: the session was idle for too long, or the password was changed. ';
  link.href = '/admin/sign-in';
  link.textContent = 'Sign in again';
  text.append(link);
  card.append(heading, text);
  for (const one of document.querySelectorAll('.top nav, .who, .flash')) one.remove();
  document.title = 'Signed out · ticketmaild';
  main.replaceChildren(card);
  delete main.dataset.refresh;
  notify('');
  live.textContent = heading.textContent;
}

function showPause(isPaused) {
  const text = main.querySelector('[data-live]');
  if (text && !document.hidden)
    text.textContent = isPaused ? ' · not refreshed while in use' : ' · refreshes automatically';
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && main.dataset.refresh && timer) {
    clearTimeout(timer);
    refresh();
  }
});

/* Cancel closes what asked, as its heading does without the script. */

document.addEventListener('click', ({ target }) => {
  const details = target.closest?.('[data-close]')?.closest('details');
  if (!details) return;
  details.open = false;
  details.querySelector('summary').focus();
});

/* Copying a command */

document.addEventListener('click', async ({ target }) => {
  const button = target.closest?.('[data-copy]');
  if (!button) return;
  const text = button.parentElement.querySelector('code').textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
    live.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector('code'));
    button.textContent = 'Press Ctrl+C';
    live.textContent = 'The command is selected: copy it with Ctrl+C';
  }
  setTimeout(() => {
    button.textContent = 'Copy';
  }, copyHoldMs);
});

/* A form with required boxes is enabled when all are ticked. */

function syncBoxes(form) {
  const button = form.querySelector('button[type="submit"]');
  button.disabled = [...form.querySelectorAll('input[type="checkbox"][required]')].some(({ checked }) => !checked);
}

/* Times are in UTC in the document, and in the zone of the browser on the screen, with UTC as the tooltip. */

const two = (number) => `${number}`.padStart(2, '0');
const dayOf = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const minuteOf = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;
const zoneFormat = new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' });

function zoneOf(at) {
  return zoneFormat.formatToParts(at).find(({ type }) => type === 'timeZoneName')?.value ?? 'local time';
}

function localize() {
  for (const time of document.querySelectorAll('time[data-local]')) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const clock = `${minuteOf(at)}:${two(at.getSeconds())}`;
    const isToday = dayOf(at) === dayOf(new Date());
    const texts = {
      clock: minuteOf(at),
      day: isToday ? clock : `${dayOf(at)} ${clock}`,
      date: `${dayOf(at)} ${clock}`,
    };
    time.textContent = texts[time.dataset.local];
    time.title = `${time.dateTime.slice(0, 19).replace('T', ' ')} UTC`;
  }
  for (const zone of document.querySelectorAll('[data-zone]')) {
    const near = zone.parentElement.querySelector('time[data-local]');
    zone.textContent = zoneOf(near ? new Date(near.dateTime) : new Date());
  }
}

function prepare() {
  localize();
  for (const box of main.querySelectorAll('input[type="checkbox"][required]')) syncBoxes(box.form);
}

document.addEventListener('change', ({ target }) => {
  if (target.matches('input[type="checkbox"][required]')) syncBoxes(target.form);
  const verify = target.closest('[data-verify]');
  if (verify) checkCopy(verify);
});

/* The fingerprints of a copy of the key file: the first 16 hex digits of SHA-256("ticketmaild key id\0" || key). */

const keyBytes = 32;
const keysMax = 8;
const idPrefix = new TextEncoder().encode('ticketmaild key id\0');
const protectedPrefix = 'age-encryption.org/v1';

/** `keyIds` is null for a file that is no key file; `text` says why. */
async function readCopy(file) {
  const size = file.size;
  const start = await file.slice(0, protectedPrefix.length).text();
  if (start === protectedPrefix) {
    const text = 'This copy is protected by a passphrase, so a browser cannot open it. Compare on the server:';
    return { keyIds: null, text, isProtected: true };
  }
  if (size === 0 || size % keyBytes !== 0 || size > keyBytes * keysMax) {
    const text = `This is not a copy of the key file: it has ${size} bytes, and a key file has ${keyBytes} for each of 1 to ${keysMax} keys.`;
    return { keyIds: null, text };
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  const ids = [];
  for (let at = 0; at < bytes.length; at += keyBytes) ids.push(await keyIdOf(bytes.subarray(at, at + keyBytes)));
  bytes.fill(0);
  return { keyIds: [...new Set(ids)], text: '' };
}

async function keyIdOf(key) {
  const input = new Uint8Array(idPrefix.length + key.length);
  input.set(idPrefix);
  input.set(key, idPrefix.length);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', input));
  input.fill(0);
  return [...digest.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Shows the result for the chosen file, and puts its fingerprints into the form. */
async function checkCopy(verify) {
  const verdict = verify.querySelector('[data-verdict]');
  const field = verify.querySelector('[name="key_ids"]');
  const [file] = verify.querySelector('input[type="file"]').files;
  field.value = '';
  const show = (text, tone) => {
    verdict.textContent = text;
    verdict.className = `verdict ${tone}`;
    return field.value !== '';
  };
  if (!file) return show('Choose the copy of the key file first.', 'bad');
  try {
    const { keyIds, text, isProtected } = await readCopy(file);
    if (keyIds === null) {
      if (isProtected) document.getElementById('verify-command').open = true;
      return show(text, 'bad');
    }
    field.value = keyIds.join(' ');
    const lacking = verify.dataset.verify.split(' ').filter((id) => id !== '' && !keyIds.includes(id));
    const found = `Fingerprint${keyIds.length === 1 ? '' : 's'} of this copy: ${keyIds.join(', ')}.`;
    if (lacking.length === 0) return show(`${found} The copy holds every key of the key file.`, 'good');
    return show(`${found} It lacks ${lacking.join(', ')}: it is an older copy, or from another server.`, 'bad');
  } catch {
    return show('The browser cannot read this file, or it has changed since: choose it again.', 'bad');
  }
}

document.addEventListener('submit', async (event) => {
  const verify = event.target.querySelector('[data-verify]');
  if (!verify) return;
  event.preventDefault();
  // Only the fingerprints are sent: the file input has no name.
  if (await checkCopy(verify)) event.target.submit();
});

/* The answer of an OAuth 2 provider: out of the address and the history, into a form of this origin. */

const callback = document.querySelector('form[data-callback]');
if (callback && location.search !== '') {
  callback.elements.answer.value = location.search;
  history.replaceState(null, '', location.pathname);
  callback.submit();
}

// The browser restores ticked boxes after a reload or a step back.
addEventListener('pageshow', prepare);
prepare();
// The change event of a file chosen before this script was loaded was missed.
for (const verify of main.querySelectorAll('[data-verify]')) {
  if (verify.querySelector('input[type="file"]').files.length > 0) checkCopy(verify);
}
scheduleRefresh();
