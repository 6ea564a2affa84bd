/**
 * Recognition of a damaged installation: an error of the module loader about a missing or broken file of the program.
 *
 * It needs no package itself: what reports errors is missing, too, where theirs are.
 */
import { causeCode, Failure } from '../../errors.ts';

const loaderCodes = new Set([
  ...['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND', 'ERR_INVALID_PACKAGE_CONFIG', 'ERR_PACKAGE_PATH_NOT_EXPORTED'],
  ...['ERR_UNSUPPORTED_DIR_IMPORT', 'ERR_INVALID_PACKAGE_TARGET'],
]);

/** `program_damaged`, also for a failure with such a cause; null: another error. */
export function damageIn(error: unknown): Failure | null {
  if (error instanceof Failure) return error.code === 'unexpected' ? damageIn(error.cause) : null;
  if (!(error instanceof Error) || !loaderCodes.has(causeCode(error))) return null;
  const [line = ''] = error.message.split('\n');
  const [, name, importer] = /^Cannot find (?:package|module) '([^']+)'(?: imported from (.+))?$/.exec(line) ?? [];
  // CommonJS: the importer is on a line of its own.
  const from = importer ?? /^- (.+)$/m.exec(error.message)?.[1];
  const what = name === undefined ? line : `${name} is missing${from === undefined ? '' : `, which ${from} needs`}`;
  return new Failure('program_damaged', `the installation is damaged: ${what}`, { cause: error });
}
