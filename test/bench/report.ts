import type { Bar, Result, Row } from './harness.js';

/** All rows as an aligned table. */
export function rowTable(results: readonly Result[]): string {
  return table(
    ['', 'ours', 'raw', 'unit', 'ratio', 'bar', 'n', 'correct'],
    results.map(({ row, bar }) => [
      row.name,
      figure(row.ours),
      figure(row.raw),
      row.unit,
      row.ratio.toFixed(2),
      bar ? verdict(row, bar) : '',
      figure(row.n),
      row.correct ? 'yes' : 'NO',
    ]),
  );
}

/** How the rate of each scenario changes with the length of the log. */
export function growthTable(results: readonly Result[]): string {
  const byScenario = new Map<string, Result[]>();
  for (const result of results) {
    if (result.length === undefined || !result.row.unit.endsWith('/s')) continue;
    byScenario.set(result.scenario, [...(byScenario.get(result.scenario) ?? []), result]);
  }
  const rows = [...byScenario].filter(([, cases]) => cases.length > 1);
  const lengths = [...new Set(rows.flatMap(([, cases]) => cases.map(({ length }) => length ?? 0)))].sort(
    (a, b) => a - b,
  );
  return table(
    ['ours by length of the log', ...lengths.map(figure), 'ours grows', 'raw grows', ''],
    rows.map(([scenario, cases]) => {
      const at = new Map(cases.map(({ length, row }) => [length ?? 0, row]));
      return [scenario, ...lengths.map((length) => figure(at.get(length)?.ours)), ...growth(cases)];
    }),
  );
}

/** Whether a row reaches its bar. */
export function reaches({ ratio, ours }: Row, bar: Bar): boolean {
  if ('atMost' in bar) return ratio <= bar.atMost;
  return ratio >= bar.ratio || (bar.orRate !== undefined && ours >= bar.orRate);
}

/** How much of its rate a scenario keeps from the shortest log to the longest, and what that means. */
function growth(cases: readonly Result[]): [ours: string, raw: string, meaning: string] {
  const [first, last] = [cases[0]?.row, cases.at(-1)?.row];
  if (!first || !last) return ['', '', ''];
  const ours = last.ours / first.ours;
  const raw = last.raw / first.raw;
  return [`x ${ours.toFixed(2)}`, `x ${raw.toFixed(2)}`, meaning(ours, raw)];
}

function meaning(ours: number, raw: number): string {
  if (ours >= 0.8) return 'flat';
  return ours >= raw * 0.8 ? 'as raw: larger files, colder pages' : 'SLOWER than raw';
}

function verdict(row: Row, bar: Bar): string {
  const needed =
    'atMost' in bar
      ? `at most ${bar.atMost}`
      : `${bar.ratio}${bar.orRate === undefined ? '' : ` or ${figure(bar.orRate)}`}`;
  return `${needed} ${reaches(row, bar) ? 'ok' : 'MISSED'}`;
}

function figure(value: number | undefined): string {
  return value === undefined ? '' : value.toLocaleString('en');
}

/** Columns as wide as their widest cell; the first is a label, and figures stand to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
