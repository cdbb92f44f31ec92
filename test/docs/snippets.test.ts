import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { pageAt, pages, type Page } from './markdown.js';
import { docsProgram, modulesOf, type SnippetModule } from './program.js';

/** The blocks that show what a page's program prints. */
function outputsOf({ fences }: Page): string[] {
  return fences.filter(({ info }) => info.join(' ') === 'text output').map(({ lines }) => lines.join('\n'));
}

function problemsOf(module: SnippetModule): string[] {
  const { page, file } = module;
  const program = docsProgram().programOf(module);
  const source = program.getSourceFile(file);
  return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
    ({ messageText, start = 0, file: of }) => {
      const line = (of?.getLineAndCharacterOfPosition(start).line ?? -1) + 1;
      return `${page.path}:${line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    },
  );
}

function compiled(module: SnippetModule): string {
  const { file } = module;
  const program = docsProgram().programOf(module);
  let code: string | undefined;
  program.emit(program.getSourceFile(file), (_, text) => (code = text));
  if (code === undefined) throw new Error(`${file} was not emitted`);
  return code;
}

describe('the snippets of the documentation', () => {
  // Inside the repository, so that what is compiled finds the packages.
  const here = fileURLToPath(new URL('.', import.meta.url));
  let code: string;
  let place: string;

  before(async function () {
    this.timeout(60_000);
    docsProgram();
    code = await mkdtemp(join(here, 'snippets-'));
    place = await mkdtemp(join(tmpdir(), 'refold-docs-'));
  });
  after(async () => {
    await rm(code, { recursive: true });
    await rm(place, { recursive: true });
  });

  async function printedBy(module: SnippetModule): Promise<string> {
    const file = join(code, basename(module.file, '.ts') + '.js');
    await writeFile(file, compiled(module));
    const { stdout } = await promisify(execFile)(process.execPath, [file], {
      cwd: await mkdtemp(join(place, 'run-')),
      env: { ...process.env, NO_COLOR: '1' },
    });
    return stdout;
  }

  for (const page of pages()) {
    const modules = modulesOf(page);
    if (modules.length === 0) continue;
    it(`of ${page.path} compile`, () => {
      const own = docsProgram().modules.filter((one) => one.page.path === page.path);
      expect(own.flatMap(problemsOf)).to.deep.equal([]);
    }).timeout(60_000);

    const outputs = outputsOf(page);
    if (outputs.length === 0) continue;
    it(`of ${page.path} print what the page shows`, async () => {
      const printed: string[] = [];
      for (const module of modules) printed.push(await printedBy(module));
      expect(printed.join('')).to.equal(outputs.map((one) => `${one}\n`).join(''));
    });
  }

  it('of the README and of getting started are run', () => {
    for (const path of ['README.md', 'docs/getting-started.md']) {
      expect(outputsOf(pageAt(path)), path).to.not.be.empty;
    }
  });
});
