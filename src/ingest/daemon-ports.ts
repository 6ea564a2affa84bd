/**
 * What the daemon needs beside what a visit needs (ports.ts): the machine and the database as things that may be ill, other
 * workers, whoever started it, and those who ask how it is.
 */
import type { PoolCheck } from './readiness.ts';

export interface DatabaseHealth {
  /** Throws `database_*` when it cannot be reached. */
  ping(): Promise<void>;
  /** The time of the database's clock. */
  databaseNowMs(): Promise<number>;
  /** Connections to it; null for a file. */
  pool(): PoolCheck | null;
}

export interface QuarantineReader {
  /** Mails in quarantine that nobody has resolved, and when the first came. */
  quarantine(): Promise<{
    readonly oldestAtMs: number | null;
    /** How many there are for each reason; most first. */
    readonly reasons: readonly { readonly reason: string; readonly count: number }[];
  }>;
}

/** A worker as the database knows it. */
export type SeenWorker = {
  readonly worker: string;
  readonly host: string;
  readonly pid: number;
  readonly live: boolean;
  readonly seenAtMs: number;
};

export interface WorkerList {
  /** `live`: it reported within `liveMs`, by the database's clock. */
  listWorkers(liveMs: number): Promise<readonly SeenWorker[]>;
}

/** The disk under the data folder. */
export interface Disk {
  /** Writes, syncs and removes a small file. Throws `disk_full`, `disk_failed`. */
  probe(): Promise<{ readonly freeBytes: number }>;
}

/** A listening server; disposing it closes it. */
export interface HttpServer extends AsyncDisposable {
  /** As `http://127.0.0.1:8025`. */
  readonly address: string;
}

/** The service manager that started us (systemd), or nobody. Never throws. */
export interface Supervisor {
  /** Within so many milliseconds it wants to hear `alive`, else it ends us; null: it does not watch. */
  readonly watchdogMs: number | null;
  ready(): void;
  reloading(): void;
  stopping(): void;
  /** One sentence for people, shown by `systemctl status`. */
  status(sentence: string): void;
  alive(): void;
}

/** Wakes on a schedule: five or six cron fields, seconds first when six. */
export interface Wakes {
  on(expression: string, wake: () => void): Disposable;
}
