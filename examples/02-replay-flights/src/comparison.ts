/** What is compared, as text: answers by their question, rows of a read model by their key. */
export type Facts = ReadonlyMap<string, string>;

/** One line for each fact that is missing, that nobody expected, or that differs; none if all match. */
export function differences(subject: string, expected: Facts, actual: Facts): string[] {
  const names = new Set([...expected.keys(), ...actual.keys()]);
  return [...names]
    .filter((name) => expected.get(name) !== actual.get(name))
    .map((name) => {
      const [wanted, got] = [expected.get(name), actual.get(name)];
      return `${subject}: ${name}: expected ${wanted ?? 'nothing'}, actual ${got ?? 'nothing'}`;
    });
}
