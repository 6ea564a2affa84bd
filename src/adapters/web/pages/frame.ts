/** What every page of the admin has around its content, as a value. */
import type { Session } from '../../../admin/service.ts';

export type Frame = {
  /** null: nobody is signed in. */
  readonly session: Session | null;
  /** The value of the hidden field `csrf`, also on the sign-in page. */
  readonly csrf: string;
  /** What the form that was sent before led to; shown once. */
  readonly flash: Flash | null;
  /** A version of the assets, for their addresses (`admin.css?v=…`). */
  readonly assets: string;
  /** When the page was made, in milliseconds since 1970 (UTC). */
  readonly atMs: number;
};

export type Flash = { readonly tone: 'good' | 'bad'; readonly text: string };

/** Boxes that were ticked when the form was refused, so that they stay ticked. */
export type EnableForm = { readonly keyLoss: boolean; readonly backup: boolean };
