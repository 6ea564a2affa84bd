/**
 * JavaScript bundle of the program (rolldown): the entry `main.js`, one file per worker thread, one per lazy library.
 *
 * ES modules with shared chunks, all in one folder. Not minified, so that a stack trace names functions and lines.
 */
import { posix, relative, resolve } from 'node:path';
import { type OutputOptions, type Plugin, rolldown } from 'rolldown';

const checkout = resolve(import.meta.dirname, '../..');

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

/** Writes the bundle into `folder`. Throws for anything that rolldown warns of, such as an import it cannot resolve. */
export async function bundle(folder: string): Promise<void> {
  const problems: string[] = [];
  await using build = await rolldown({
    cwd: checkout,
    input: entries,
    platform: 'node',
    tsconfig: false,
    // piscina's, for the priorities of threads, with native code; it goes without.
    resolve: { alias: { '@napi-rs/nice': false } },
    plugins: [programFiles(), lazyLibraries(), piscinaWorker()],
    onLog: (level, { message }) => {
      if (level === 'warn') problems.push(message);
    },
  });
  await build.write({ ...output, dir: folder });
  if (problems.length > 0) throw new Error(problems.join('\n'));
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
