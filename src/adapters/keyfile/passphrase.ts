/** Where the passphrase of a protected key file comes from, asked at most once for each piece of work, then wiped. */
import { Failure } from '../../errors.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';

/** null: there is none. What it gives is wiped by whoever asked. */
export type PassphraseSource = () => Promise<SecretBytes | null>;

export type Asked = Disposable & {
  /** Asks when nobody has yet. Throws `key_file_locked` when there is none. */
  passphrase(): Promise<SecretBytes>;
  /** True once there was one. */
  readonly isGiven: boolean;
};

/** Disposing it wipes the passphrase. */
export function askOnce(source: PassphraseSource): Asked {
  let given: SecretBytes | null = null;
  return {
    passphrase: async () => {
      given ??= await source();
      if (given !== null) return given;
      throw new Failure(
        'key_file_locked',
        'the key file cannot be opened: it is protected, and no passphrase is given',
      );
    },
    get isGiven() {
      return given !== null;
    },
    [Symbol.dispose]: () => given?.wipe(),
  };
}
