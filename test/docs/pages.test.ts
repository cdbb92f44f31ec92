import { expect } from 'chai';
import { existsSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { anchorsOf, linksOf, pageAt, pages, ROOT, type Link, type Page } from './markdown.js';

/** Where a link leads to, from the root, and the heading that it names. */
function destination(page: Page, { target }: Link): { path: string; anchor: string | undefined } {
  const [file = '', anchor] = target.split('#');
  return { path: file === '' ? page.path : normalize(join(dirname(page.path), file)), anchor };
}

function problemOf(page: Page, link: Link): string | undefined {
  const { path, anchor } = destination(page, link);
  const found = join(ROOT, path);
  const where = `${page.path}:${link.line} ${link.target}`;
  if (!existsSync(found)) return `${where}: there is no such file`;
  if (anchor === undefined) return undefined;
  if (!statSync(found).isFile() || !anchorsOf(pageAt(path)).has(anchor)) return `${where}: no such heading`;
  return undefined;
}

describe('the pages of the documentation', () => {
  it('link only to files and headings that exist', () => {
    const problems = pages().flatMap((page) => linksOf(page).map((link) => problemOf(page, link)));
    expect(problems.length).to.be.greaterThan(50);
    expect(problems.filter((problem) => problem !== undefined)).to.deep.equal([]);
  });

  it('are all named by the index of docs/', () => {
    const index = pageAt('docs/README.md');
    const named = new Set(linksOf(index).map((link) => destination(index, link).path));
    const missing = pages()
      .map(({ path }) => path)
      .filter((path) => path.startsWith('docs/') && path !== index.path && !named.has(path));
    expect(missing).to.deep.equal([]);
  });

  it('begin with one title each', () => {
    for (const page of pages()) {
      const titles = page.lines.filter((line, index) => /^# /.test(line) && !inFence(page, index));
      expect(titles, page.path).to.have.lengthOf(1);
      expect(page.lines[0], page.path).to.equal(titles[0]);
    }
  });

  it('begin with a README of at most 150 lines', () => {
    expect(pageAt('README.md').lines.length).to.be.at.most(151);
  });
});

function inFence({ fences }: Page, line: number): boolean {
  return fences.some(({ start, lines }) => line >= start && line < start + lines.length);
}
