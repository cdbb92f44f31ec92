import { dirname, join } from 'node:path';
import ts from 'typescript';
import { pages, ROOT, type Page } from './markdown.js';

/** The TypeScript of one page that belongs together. */
export interface SnippetModule {
  readonly page: Page;
  /** Where the compiler takes it to be; there is no such file. */
  readonly file: string;
  /** The page's lines with everything else blank, so that a diagnostic names the line of the page. */
  readonly text: string;
  /** Whether it has legacy decorators, which those of parameters are: its first fence says `ts legacy`. */
  readonly legacy: boolean;
}

/**
 * The snippets of a page make one module, in their order, so that later ones use what earlier ones declare. The fence
 * info `ts module` begins another one.
 */
export function modulesOf(page: Page): SnippetModule[] {
  const modules: string[][] = [];
  const legacy = new Set<number>();
  for (const { info, lines, start } of page.fences) {
    if (info[0] !== 'ts') continue;
    if (modules.length === 0 || info[1] === 'module') modules.push(page.lines.map(() => ''));
    if (info[1] === 'legacy') legacy.add(modules.length - 1);
    modules.at(-1)?.splice(start, lines.length, ...lines);
  }
  const name = page.path.replace(/\.md$/, '').replaceAll('/', '-').toLowerCase();
  return modules.map((lines, index) => ({
    page,
    file: join(ROOT, 'test', 'snippets', `${name}-${index + 1}.ts`),
    text: lines.join('\n'),
    legacy: legacy.has(index),
  }));
}

/** The modules of all pages, and the program that has them, but for those with legacy decorators, and the built packages in it. Made once a run. */
export interface DocsProgram {
  readonly modules: readonly SnippetModule[];
  readonly program: ts.Program;
  /** The one that has a module. */
  readonly programOf: (module: SnippetModule) => ts.Program;
}

let made: DocsProgram | undefined;

/** See `DocsProgram`. */
export function docsProgram(): DocsProgram {
  made ??= makeProgram();
  return made;
}

/** The exports of an entry point, e.g. `@refold/core`, as its users see them. */
export function exportsOf(specifier: string): ts.Symbol[] {
  const { program } = docsProgram();
  const checker = program.getTypeChecker();
  const { resolvedModule } = ts.resolveModuleName(
    specifier,
    join(ROOT, 'test', 'snippets', 'index.ts'),
    program.getCompilerOptions(),
    ts.sys,
    undefined,
    undefined,
    ts.ModuleKind.ESNext,
  );
  const source = resolvedModule && program.getSourceFile(resolvedModule.resolvedFileName);
  const symbol = source && checker.getSymbolAtLocation(source);
  if (!symbol) throw new Error(`There is no ${specifier}: build it first`);
  return checker
    .getExportsOfModule(symbol)
    .map((one) => (one.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(one) : one));
}

/** Every entry point of the packages. */
export const ENTRY_POINTS = [
  '@refold/core',
  '@refold/sqlite',
  '@refold/postgres',
  '@refold/inversify',
  '@refold/rabbitmq',
  '@refold/kafka',
  '@refold/testing',
  '@refold/testing/conformance',
] as const;

function makeProgram(): DocsProgram {
  const modules = pages().flatMap(modulesOf);
  const packages = {
    file: join(ROOT, 'test', 'snippets', 'packages.ts'),
    text: ENTRY_POINTS.map((specifier) => `import '${specifier}';\n`).join(''),
  };
  const program = programWith([...modules.filter(({ legacy }) => !legacy), packages], compilerOptions());
  const legacy = programWith(
    modules.filter((module) => module.legacy),
    { ...compilerOptions(), experimentalDecorators: true },
  );
  return { modules, program, programOf: (module) => (module.legacy ? legacy : program) };
}

function programWith(
  sources: readonly Pick<SnippetModule, 'file' | 'text'>[],
  options: ts.CompilerOptions,
): ts.Program {
  const texts = new Map(sources.map(({ file, text }) => [file, text]));
  const host = ts.createCompilerHost(options);
  const readFromDisk = host.readFile.bind(host);
  const sourceFromDisk = host.getSourceFile.bind(host);
  host.readFile = (file) => texts.get(file) ?? readFromDisk(file);
  host.fileExists = (file) => texts.has(file) || ts.sys.fileExists(file);
  host.getSourceFile = (file, languageVersion, ...rest) => {
    const text = texts.get(file);
    if (text === undefined) return sourceFromDisk(file, languageVersion, ...rest);
    return ts.createSourceFile(file, text, languageVersion);
  };
  return ts.createProgram([...texts.keys()], options, host);
}

/** The repository's own, except that a snippet may declare what only the reader uses. */
function compilerOptions(): ts.CompilerOptions {
  const file = join(ROOT, 'tsconfig.base.json');
  const { config } = ts.readConfigFile(file, (path) => ts.sys.readFile(path)) as { config: object };
  const { options } = ts.parseJsonConfigFileContent({ ...config, files: [] }, ts.sys, dirname(file));
  return {
    ...options,
    types: ['node', 'mocha'],
    composite: false,
    declaration: false,
    declarationMap: false,
    sourceMap: false,
    noUnusedLocals: false,
    noUnusedParameters: false,
  };
}
