/**
 * Post-actions as text: one record from which the parser of `--on-success`, its rule and its help are
 * derived. A post-action that is missing here does not compile.
 */

import { oneLine, quoted, wrongValue } from '../../config/option-values.ts';
import { Failure } from '../../errors.ts';
import type { PostAction } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';

type PostActionForm<A extends PostAction> = {
  /** As the help shows it: the kind, and after a colon its argument. */
  readonly form: string;
  text(action: A): string;
  /** `argument`: the text after the colon; '' where the form has none. */
  read(argument: string): A;
  /** The folder that messages are moved into; null: they stay. */
  targetFolder(action: A): string | null;
};

type FormsByKind = {
  readonly [K in PostAction['kind']]: PostActionForm<Extract<PostAction, { readonly kind: K }>>;
};

const forms: FormsByKind = {
  seen: withoutArgument('seen'),
  move: {
    form: 'move:FOLDER',
    text: ({ folder }) => `move:${folder}`,
    read: (folder) => ({ kind: 'move', folder: oneLine('--on-success', folder) }),
    targetFolder: ({ folder }) => folder,
  },
  delete: withoutArgument('delete'),
  leave: withoutArgument('leave'),
};

function withoutArgument<const K extends PostAction['kind']>(kind: K) {
  return { form: kind, text: () => kind, read: () => ({ kind }), targetFolder: () => null };
}

/** The same record, for an action of any kind. */
const formOf: Readonly<Record<PostAction['kind'], PostActionForm<PostAction>>> = forms;
const words = Object.values(forms).map(({ form }) => form);

/** `seen, move:FOLDER, delete or leave`. */
export const postActionWords = `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;

/** In the form of the option `--on-success`. */
export function postActionText(action: PostAction): string {
  return formOf[action.kind].text(action);
}

/** From the text of the option `--on-success`. Throws `usage`. */
export function readPostAction(text: string): PostAction {
  const [, kind = '', argument] = /^([^:]*)(?::(.+))?$/u.exec(text) ?? [];
  const found = Object.entries(formOf).find(([name]) => name === kind)?.[1];
  if (found === undefined || found.form.includes(':') !== (argument !== undefined))
    throw wrongValue('--on-success', `must be ${postActionWords}`, text);
  return found.read(argument ?? '');
}

/** The folder that messages are moved into; null: they stay in the polled one. */
export function targetFolder(action: PostAction): string | null {
  return formOf[action.kind].targetFolder(action);
}

/** Throws `usage` for a move into the polled folder itself. */
export function refuseMoveIntoItself(action: PostAction, polledFolder: string): void {
  if (targetFolder(action)?.toLowerCase() !== polledFolder.toLowerCase()) return;
  const given = quoted(postActionText(action));
  throw new Failure('usage', `--on-success must move to another folder than the polled one, not ${given}`);
}

/** What an operator would not expect of this server, and of this post-action on it: phrases without a full stop. */
export function probeNotes(
  action: PostAction,
  {
    folders,
    capabilities,
    leftOut,
    isReferred,
  }: Pick<ProbeReport, 'folders' | 'capabilities' | 'leftOut' | 'isReferred'>,
): readonly string[] {
  const notes: string[] = [];
  if (isReferred)
    notes.push('the server accepts the login and says that the mail of this user is on another host: ask its operator');
  const folder = targetFolder(action);
  // The first move creates the target folder, a misspelt one as well.
  if (folder !== null && !folders.includes(folder) && leftOut === 0)
    notes.push(`there is no folder ${folder} yet: the first move creates it, if the server allows the name`);
  const isMarked = action.kind === 'delete' || (action.kind === 'move' && !capabilities.includes('MOVE'));
  if (isMarked && !capabilities.includes('UIDPLUS'))
    notes.push(
      'the server has no UIDPLUS: messages stay in the folder, marked as deleted, until a mail program expunges it',
    );
  return notes;
}
