/** The part of hoodiecrow-imap that the demo and the matrix of servers use; the package has no types of its own. */
declare module 'hoodiecrow-imap' {
  import type { Server } from 'node:net';

  type Message = { readonly raw: string; readonly flags?: readonly string[] };

  export interface HoodiecrowServer {
    readonly server: Server;
    listen(port: number, host: string, listening: () => void): void;
    close(closed: () => void): void;
    setMaxListeners(count: number): void;
    /** `receivedAt` false means now. */
    appendMessage(folder: string, flags: string[], receivedAt: Date | false, raw: string): void;
  }

  export default function hoodiecrow(options: {
    readonly plugins: readonly string[];
    readonly id: { readonly name: string };
    readonly users: Readonly<Record<string, { readonly password: string }>>;
    readonly storage: Readonly<Record<string, { readonly messages?: readonly Message[]; readonly separator?: string }>>;
    readonly secureConnection?: boolean;
    readonly credentials?: { readonly key: Uint8Array; readonly cert: Uint8Array };
  }): HoodiecrowServer;
}
