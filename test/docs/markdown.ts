import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the repository, seen from test/dist/docs. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** A fenced block of a page. */
export interface Fence {
  /** What stands behind the three backticks, word by word. */
  readonly info: readonly string[];
  readonly lines: readonly string[];
  /** The line of the page at which the content begins, from 0. */
  readonly start: number;
}

/** A page of the documentation. */
export interface Page {
  /** Its path from the root, e.g. `docs/errors.md`. */
  readonly path: string;
  readonly lines: readonly string[];
  readonly fences: readonly Fence[];
}

/** Every page that a reader is sent to: the root's own and all of `docs/`. */
export function pages(): Page[] {
  const docs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name))
    .sort();
  return ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...docs].map(pageAt);
}

/** The page at a path from the root. */
export function pageAt(path: string): Page {
  const lines = readFileSync(join(ROOT, path), 'utf8').split('\n');
  return { path: relative(ROOT, join(ROOT, path)), lines, fences: fencesOf(lines) };
}

/** The lines of a page outside its fences; those inside are blank, so that numbers stay the same. */
export function proseOf({ lines, fences }: Page): string[] {
  const prose = [...lines];
  for (const fence of fences) prose.fill('', fence.start, fence.start + fence.lines.length);
  return prose;
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(page: Page): Set<string> {
  const anchors = new Set<string>();
  for (const line of proseOf(page)) {
    const heading = /^#{1,6} (.*)$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const text = heading
      .toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    let anchor = text;
    for (let copy = 1; anchors.has(anchor); copy++) anchor = `${text}-${copy}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** A link of a page to a place in this repository. */
export interface Link {
  readonly target: string;
  /** From 1, as editors count. */
  readonly line: number;
}

/** The links of a page, except those to other sites. */
export function linksOf(page: Page): Link[] {
  return proseOf(page).flatMap((line, index) =>
    [...line.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target = '']) => ({ target, line: index + 1 }))
      .filter(({ target }) => !/^[a-z]+:/.test(target)),
  );
}

function fencesOf(lines: readonly string[]): Fence[] {
  const fences: Fence[] = [];
  let open: { readonly info: readonly string[]; readonly start: number } | undefined;
  lines.forEach((line, index) => {
    if (!line.startsWith('```')) return;
    if (open) {
      fences.push({ ...open, lines: lines.slice(open.start, index) });
      open = undefined;
    } else {
      open = { info: line.slice(3).trim().split(/\s+/), start: index + 1 };
    }
  });
  if (open) throw new Error(`The fence that opens at line ${open.start} is never closed`);
  return fences;
}
