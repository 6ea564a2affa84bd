/**
 * Functions of the C library through node:ffi.
 *
 * null: node:ffi is disabled, or of another version. Its warning about being experimental is not for users.
 */
import type { DynamicLibraryResult, FunctionDefinitions } from 'node:ffi';
import { causeCode } from '../../errors.ts';

export type CFunctions<T extends FunctionDefinitions> = DynamicLibraryResult<T>['functions'];

export function loadCLibrary<const T extends FunctionDefinitions>(definitions: T): CFunctions<T> | null {
  const { emitWarning } = process;
  process.emitWarning = () => undefined;
  try {
    return process.getBuiltinModule('node:ffi').dlopen(null, definitions).functions;
  } catch (error) {
    if (!(error instanceof TypeError) && !causeCode(error).startsWith('ERR_')) throw error;
    return null;
  } finally {
    process.emitWarning = emitWarning;
  }
}
