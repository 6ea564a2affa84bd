/**
 * Result of a probe, stage by stage: name resolution, connection, certificate, login, folder.
 *
 * Certificate and folders are texts of the server, shown as untrusted text of bounded length.
 */
import type { ProbeStage, ProbeView } from '../../../admin/service.ts';
import { asRunHere } from '../../../text/program-name.ts';
import { countText } from '../../../text/units.ts';
import { card, code, countOf, definitionList, timestampUtc, untrustedText } from './components.ts';
import { type Markup, markup, nothing } from './layout.ts';

const stageNames: Readonly<Record<ProbeStage['stage'], string>> = {
  name: 'Name resolution',
  connect: 'Connection',
  tls: 'Certificate',
  login: 'Login',
  folder: 'Folder',
};

const results: Readonly<Record<ProbeStage['result'], readonly [style: string, text: string]>> = {
  passed: ['good', 'passed'],
  failed: ['bad', 'failed'],
  not_reached: ['idle', 'not reached'],
};

export function probeCard(probe: ProbeView, heading: string): Markup {
  const { failure, stages } = probe;
  const rows = stages.map(({ stage, result }) => {
    const [style, text] = results[result];
    const why = result === 'failed' && failure !== null ? reason(failure) : nothing;
    return markup`<li><span class="badge ${style}">${text}</span> <b>${stageNames[stage]}</b>${why}</li>`;
  });
  const isUnplaced = failure !== null && !stages.some(({ result }) => result === 'failed');
  const content = markup`<ul class="stages">${rows}</ul>${isUnplaced ? reason(failure) : nothing}${facts(probe)}`;
  return card(failure === null ? 'good' : 'bad', heading, content);
}

function reason({ message, hint }: NonNullable<ProbeView['failure']>): Markup {
  return markup`<p class="reason">${untrustedText(message, 600)}</p>${hint === '' ? nothing : markup`<p class="hint">${untrustedText(asRunHere(hint), 900)}</p>`}`;
}

const foldersShown = 30;

function facts({ address, certificate, mechanism, messages, folders, leftOut, notes }: ProbeView): Markup {
  const more = folders.length > foldersShown ? ` and ${folders.length - foldersShown} more` : '';
  const list = folders.slice(0, foldersShown).map((name, index) => [index === 0 ? '' : ', ', untrustedText(name, 80)]);
  const rows = [
    address === null ? null : (['Address', code(address)] as const),
    ...certificateRows(certificate),
    mechanism === null ? null : (['Login', code(mechanism)] as const),
    messages === null ? null : (['Messages in the folder', countOf(messages, 'message')] as const),
    folders.length === 0 ? null : (['Folders there', markup`${list}${more}`] as const),
    leftOut === 0
      ? null
      : (['Not shown', markup`${countText(leftOut, 'name')} with the password or token in it`] as const),
    ...notes.map((note) => ['Note', untrustedText(note, 600)] as const),
  ];
  return rows.every((row) => row === null) ? nothing : definitionList(rows);
}

function certificateRows(certificate: ProbeView['certificate']): readonly (readonly [string, Markup] | null)[] {
  if (certificate === null) return [];
  const { subject, issuer, validFromMs, validUntilMs, fingerprint } = certificate;
  return [
    subject === '' ? null : ['Certificate of', untrustedText(subject, 300)],
    issuer === '' ? null : ['Issued by', untrustedText(issuer, 300)],
    validFromMs === null ? null : ['Valid from', timestampUtc(validFromMs)],
    validUntilMs === null ? null : ['Valid until', timestampUtc(validUntilMs)],
    ['SHA-256', code(fingerprint)],
  ];
}
