/**
 * JavaScript bundle of the program (rolldown): the entry `main.js`, one file per worker thread, one per lazy library.
 *
 * ES modules with shared chunks, all in one folder. Not minified, so that a stack trace names functions and lines.
 */
import { existsSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, posix, relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { type OutputOptions, type Plugin, rolldown } from 'rolldown';
import { checkout } from './checkout.ts';
import { PackagingFailure } from './command.ts';

/** Entries by the name of their file. Worker threads are started by path, so that their names are fixed. */
const entries = {
  main: 'src/main.ts',
  'parse.worker': 'src/adapters/parser/parse.worker.ts',
  'storage.worker': 'src/adapters/files/storage.worker.ts',
  'piscina.worker': 'node_modules/piscina/dist/worker.js',
};

/** Paths of the checkout that the program finds by `import.meta.url`, and where they are, seen from a bundle. */
const placeOf: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  [/^src\/.*\/([^/]+\.worker)\.ts$/, './$1.js'],
  [/^src\/adapters\/web\/assets\//, './assets/'],
  [/^config\//, '../config/'],
  [/^package\.json$/, '../package.json'],
];

const output: OutputOptions = {
  format: 'esm',
  sourcemap: true,
  sourcemapExcludeSources: true,
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
};

/**
 * Writes the bundle into `folder`, and returns the folders of the packages in it, sorted. A problem is a packaging
 * failure, and so is a warning, such as an import that cannot be resolved.
 */
export async function bundle(folder: string): Promise<readonly string[]> {
  const problems: string[] = [];
  try {
    await using build = await rolldown({
      cwd: checkout,
      input: entries,
      platform: 'node',
      tsconfig: false,
      // Optional, and with native code: priorities of threads (piscina), colours of logged statements (mysql2).
      resolve: { alias: { '@napi-rs/nice': false, cardinal: false } },
      plugins: [programFiles(), lazyLibraries(), piscinaWorker()],
      onLog: (level, { message }) => {
        if (level === 'warn') problems.push(message);
      },
    });
    const { output: files } = await build.write({ ...output, dir: folder });
    const chunks = files.filter((file) => file.type === 'chunk');
    for (const { fileName, imports, dynamicImports } of chunks) {
      const missing = [...imports, ...dynamicImports].filter((name) => !isOwn(name) && !isBuiltin(name));
      problems.push(...missing.map((name) => `${fileName} imports ${name}, which is not in the bundle`));
    }
    if (problems.length === 0) return packageFolders(chunks.flatMap(({ moduleIds }) => moduleIds));
  } catch (error) {
    problems.push(...buildErrors(error));
  }
  throw new PackagingFailure(`the program cannot be bundled:\n${problems.map((one) => `  ${one}`).join('\n')}`);

  function isOwn(name: string): boolean {
    return existsSync(join(folder, name));
  }
}

/** The errors in rolldown's, one line each, without the excerpt of the source. */
function buildErrors(error: unknown): readonly string[] {
  const errors = (error as Partial<AggregateError>).errors;
  if (!Array.isArray(errors)) throw error;
  return errors.map(({ message }: Error) => stripVTControlCharacters(message).split('\n', 1)[0] ?? '');
}

function packageFolders(modules: readonly string[]): readonly string[] {
  // Modules that rolldown makes itself begin with a NUL.
  const files = modules.filter((id) => !id.startsWith('\0'));
  const folders = files.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []);
  return [...new Set(folders)].sort();
}

/** A transformation that keeps every line, so that its source map is the one of the source. */
function sameLines(code: string): { code: string; map: null } {
  return { code, map: null };
}

/** Replaces each `new URL(PATH, import.meta.url)` by the place of that file in the program folder. */
function programFiles(): Plugin {
  return {
    name: 'program-files',
    transform: {
      filter: { id: /\/src\/.*\.ts$/, code: 'import.meta.url' },
      handler: (code, id) =>
        sameLines(
          code.replaceAll(/(?<=\bnew URL\((['`]))[^'`]+(?=\1, import\.meta\.url\))/g, (path) => {
            const file = posix.join(posix.dirname(relative(checkout, id)), path);
            const [pattern, replacement] = placeOf.find(([one]) => one.test(file)) ?? [];
            if (pattern === undefined || replacement === undefined)
              throw new Error(`${file} has no place in the program`);
            return file.replace(pattern, replacement);
          }),
        ),
    },
  };
}

/**
 * Makes an entry of each library that is loaded with `require` on first use (src/mail/lazy-require.ts). It is an ES
 * module, whose export `module.exports` is what `require` returns.
 */
function lazyLibraries(): Plugin {
  const prefix = '\0lazy:';
  return {
    name: 'lazy-libraries',
    resolveId: (id) => (id.startsWith(prefix) ? id : null),
    load: {
      filter: { id: /^\0lazy:/ },
      handler: (id) =>
        `const library = require('${id.slice(prefix.length)}');\nexport { library as 'module.exports' };\n`,
    },
    transform: {
      filter: { id: /\/src\/.*\.ts$/, code: 'lazyRequire(' },
      handler(code) {
        return sameLines(
          code.replaceAll(/(?<=[^.\w]require\(')[\w-]+(?='\))/g, (name) => {
            this.emitFile({ type: 'chunk', id: `${prefix}${name}`, fileName: `${name}.js` });
            return `./${name}.js`;
          }),
        );
      },
    },
  };
}

/** piscina starts its worker by `__dirname`, which an ES module lacks. */
function piscinaWorker(): Plugin {
  const original = "(0, node_path_1.resolve)(__dirname, 'worker.js')";
  return {
    name: 'piscina-worker',
    transform: {
      filter: { id: /\/piscina\/dist\/index\.js$/ },
      handler: (code) => {
        if (!code.includes(original)) throw new Error('piscina starts its worker in another way');
        return sameLines(code.replace(original, "new URL('./piscina.worker.js', import.meta.url)"));
      },
    },
  };
}
